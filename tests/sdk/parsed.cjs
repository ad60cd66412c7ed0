// Asks both TypeScript SDKs for parsed answers, against the base URL given, and prints what they made of them as JSON.
const Anthropic = require("@anthropic-ai/sdk");
const { jsonSchemaOutputFormat } = require("@anthropic-ai/sdk/helpers/json-schema");
const OpenAI = require("openai");

const [, , url] = process.argv;
const item = {
  type: "object",
  properties: { name: { enum: ["apple", "pear"] }, count: { enum: [1, 2, 3] } },
  required: ["name", "count"], additionalProperties: false,
};
const schema = {
  type: "object",
  properties: { paid: { type: "boolean" }, first: item, second: { anyOf: [item, { type: "null" }] } },
  required: ["paid", "first", "second"], additionalProperties: false,
};
const messages = [{ role: "user", content: "Order an apple" }];
const claude = new Anthropic({ baseURL: url, apiKey: "local", maxRetries: 0 });
const gpt = new OpenAI({ baseURL: url + "/v1", apiKey: "local", maxRetries: 0 });
const request = { model: "claude-opus-5-5", max_tokens: 400, messages, output_config: { format: jsonSchemaOutputFormat(schema) } };
const format = { type: "json_schema", json_schema: { name: "order", schema, strict: true } };
const text = { format: { type: "json_schema", name: "order", schema, strict: true } };
const input = { model: "gpt-9", input: messages, text };
const chat = { model: "gpt-9", messages, response_format: format };

async function main() {
  const message = await claude.messages.parse(request);
  const beta = await claude.beta.messages.parse(request);
  const streamed = await claude.messages.stream(request).finalMessage();
  const completion = await gpt.chat.completions.parse(chat);
  const completed = await gpt.chat.completions.stream(chat).finalChatCompletion();
  const response = await gpt.responses.parse(input);
  const responded = await gpt.responses.stream(input).finalResponse();
  console.log(JSON.stringify({
    messages: message.parsed_output, beta: beta.parsed_output, streamed: streamed.parsed_output,
    chat: completion.choices[0].message.parsed, chat_streamed: completed.choices[0].message.parsed,
    responses: response.output_parsed, responses_streamed: responded.output_parsed,
  }));
}

main();
