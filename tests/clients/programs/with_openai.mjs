// OpenAI's SDK for JavaScript, with its runner of tools and its parsed answers.
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const { prompt, pictureUrl, run, step } = await import(process.env.CELL_MODULE);
const model = "gpt-4o";
const messages = [{ role: "user", content: prompt }];

await run({
  simple: async () => (await client.chat.completions.create({ model, messages })).choices[0].message.content,
  async stream() {
    const pieces = [];
    for await (const chunk of await client.chat.completions.create({ model, messages, stream: true }))
      if (chunk.choices[0]?.delta?.content) pieces.push(chunk.choices[0].delta.content);
    return pieces;
  },
  async tools() {
    const parameters = { type: "object", properties: { number: { type: "number" } }, required: ["number"] };
    const by_number = { name: "step", parameters, parse: JSON.parse, function: ({ number }) => step(number) };
    const tools = [{ type: "function", function: by_number }];
    return await client.chat.completions.runTools({ model, messages: [...messages], tools }).finalContent();
  },
  async structured() {
    const schema = z.object({ city: z.string(), degrees: z.number() });
    const response_format = zodResponseFormat(schema, "weather");
    const first = (await client.chat.completions.parse({ model, messages, response_format })).choices[0].message;
    const again = [...messages, first, ...messages];
    return (await client.chat.completions.parse({ model, messages: again, response_format })).choices[0].message.parsed;
  },
  async images() {
    const content = [{ type: "text", text: prompt }, { type: "image_url", image_url: { url: pictureUrl() } }];
    const answer = await client.chat.completions.create({ model, messages: [{ role: "user", content }] });
    return answer.choices[0].message.content;
  },
});
