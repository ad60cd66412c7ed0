// Asks the Vercel AI SDK for typed objects through each of our protocols, against the base URL given, and prints them as JSON.
const { generateObject, generateText, Output } = require("ai");
const { createAnthropic } = require("@ai-sdk/anthropic");
const { createOpenAI } = require("@ai-sdk/openai");
const { z } = require("zod");

const [, , url] = process.argv;
const claude = createAnthropic({ baseURL: url + "/v1", apiKey: "local" });
const gpt = createOpenAI({ baseURL: url + "/v1", apiKey: "local" });
const item = z.object({ name: z.enum(["apple", "pear"]), count: z.literal([1, 2, 3]) });
const schema = z.object({ paid: z.boolean(), first: item, second: item.nullable() });
const models = { messages: claude("claude-opus-5-5"), chat: gpt.chat("gpt-9"), responses: gpt.responses("gpt-9") };

async function main() {
  const seen = {};
  for (const [protocol, model] of Object.entries(models)) {
    const request = { model, prompt: "Order an apple", maxOutputTokens: 400, maxRetries: 0 };
    seen[protocol] = (await generateObject({ ...request, schema })).object;
    seen[protocol + "_output"] = (await generateText({ ...request, output: Output.object({ schema }) })).output;
  }
  console.log(JSON.stringify(seen));
}

main();
