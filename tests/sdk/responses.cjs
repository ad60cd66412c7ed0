// Does with the Responses API of OpenAI's TypeScript SDK what an application does, against the base URL given, and prints what it
// saw as JSON.
const OpenAI = require("openai");

const client = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: "local", maxRetries: 0 });
const parameters = { type: "object", properties: { file_path: { type: "string" } }, required: ["file_path"] };
const tool = { type: "function", name: "Read", description: "Reads a file.", strict: false, parameters };
const question = [{ role: "user", content: "Read hello.txt" }];
const request = { model: "gpt-9", max_output_tokens: 64, instructions: "Be brief.", tools: [tool] };

function seen({ output, output_text, status, usage }) {
  const called = output.filter((item) => item.type === "function_call");
  return {
    text: output_text, calls: called.map(({ name, arguments: text }) => ({ name, arguments: JSON.parse(text) })), status,
    prompt: usage.input_tokens, cached: usage.input_tokens_details.cached_tokens, output: usage.output_tokens,
  };
}

async function main() {
  const stream = client.responses.stream({ ...request, input: question });
  const events = [];
  for await (const event of stream) events.push(event.type);
  const streamed = await stream.finalResponse();
  const numbers = [];
  for await (const event of await client.responses.create({ ...request, input: question, stream: true })) {
    numbers.push(event.sequence_number);
  }
  // The next turn: what the model said goes back as it came, and the call's output with the id that the server gave.
  const { call_id } = streamed.output.find((item) => item.type === "function_call");
  const turn = streamed.output.map(({ parsed_arguments, ...item }) => item);
  const output = { type: "function_call_output", call_id, output: "The password is swordfish." };
  const followUp = await client.responses.create({ ...request, input: [...question, ...turn, output] });
  const whole = await client.responses.create({ ...request, input: question });
  const bad = { ...request, input: question, previous_response_id: "resp_1" };
  const refused = await client.responses.create(bad).then(() => null, (error) => error);
  const error = { type: refused.type, param: refused.param, message: refused.error.message };
  console.log(JSON.stringify({
    streamed: seen(streamed), whole: seen(whole), follow_up: followUp.output_text, call_id, first_event: events[0],
    last_event: events.at(-1), numbers_are_in_order: numbers.every((number, at) => number === at), error,
  }));
}

main();
