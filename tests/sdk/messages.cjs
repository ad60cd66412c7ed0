// Does with the TypeScript SDK what an application does, against the base URL given, and prints what it saw as JSON.
const Anthropic = require("@anthropic-ai/sdk");

const client = new Anthropic({ baseURL: process.argv[2], apiKey: "local", maxRetries: 0 });
const request = {
  model: "claude-opus-5-5",
  max_tokens: 64,
  messages: [{ role: "user", content: "Read hello.txt" }],
  tools: [
    {
      name: "Read",
      description: "Reads a file.",
      input_schema: { type: "object", properties: { file_path: { type: "string" } }, required: ["file_path"] },
    },
  ],
};

function seen({ content, stop_reason, usage }) {
  const blocks = content.map(({ type, text, name, input }) => ({ type, text, name, input }));
  const prompt = usage.input_tokens + (usage.cache_creation_input_tokens ?? 0) + (usage.cache_read_input_tokens ?? 0);
  return { blocks, stop_reason, prompt, output: usage.output_tokens };
}

async function main() {
  const events = [];
  const stream = client.messages.stream(request).on("streamEvent", (event) => events.push(event.type));
  const streamed = seen(await stream.finalMessage());
  const whole = seen(await client.messages.create(request));
  const { max_tokens, ...countable } = request;
  const counted = (await client.messages.countTokens(countable)).input_tokens;
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  const bad = { model: "m", max_tokens: 1, messages: [{ role: "user", content: [{ type: "text" }] }] };
  const error = await client.messages.create(bad).then(() => null, (refused) => refused.error.error);
  console.log(JSON.stringify({ first_event: events[0], last_event: events.at(-1), streamed, whole, counted, models, error }));
}

main();
