// Does with OpenAI's TypeScript SDK what an application does, against the base URL given, and prints what it saw as JSON.
const OpenAI = require("openai");

const client = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: "local", maxRetries: 0 });
const parameters = { type: "object", properties: { file_path: { type: "string" } }, required: ["file_path"] };
const request = {
  model: "gpt-9",
  max_completion_tokens: 64,
  messages: [{ role: "developer", content: "Be brief." }, { role: "user", content: "Read hello.txt" }],
  tools: [{ type: "function", function: { name: "Read", description: "Reads a file.", parameters } }],
};

function seen({ choices: [{ message, finish_reason }], usage }) {
  const called = (message.tool_calls ?? []).map((call) => call.function);
  const calls = called.map(({ name, arguments: text }) => ({ name, arguments: JSON.parse(text) }));
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = usage;
  return {
    text: message.content, calls, reason: finish_reason,
    prompt: prompt_tokens, cached: prompt_tokens_details.cached_tokens, output: completion_tokens,
  };
}

async function main() {
  const stream = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
  const streamed = await stream.finalChatCompletion();
  // The next turn: the call's result goes back with the id that the server gave.
  const { content, tool_calls: [call] } = streamed.choices[0].message;
  const { id, function: { name, arguments: text } } = call;
  const turn = [
    { role: "assistant", content, tool_calls: [{ id, type: "function", function: { name, arguments: text } }] },
    { role: "tool", tool_call_id: id, content: "The password is swordfish." },
  ];
  const next = { ...request, messages: [...request.messages, ...turn] };
  const followUp = (await client.chat.completions.create(next)).choices[0].message.content;
  const whole = seen(await client.chat.completions.create(request));
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  const bad = { ...request, messages: [{ role: "user", content: [{ type: "hologram" }] }] };
  const refused = await client.chat.completions.create(bad).then(() => null, (error) => error);
  const error = { type: refused.type, message: refused.error.message };
  console.log(JSON.stringify({ streamed: seen(streamed), whole, follow_up: followUp, call_id: id, models, error }));
}

main();
