// OpenAI's agents for JavaScript.
import { Agent, run as ask, tool } from "@openai/agents";
import { z } from "zod";

const { prompt, pictureUrl, run, step } = await import(process.env.CELL_MODULE);
const agent = (more) => new Agent({ name: "guard", instructions: "Be brief.", model, ...more });
const parameters = z.object({ number: z.number() });
const by_number = tool({ name: "step", description: "A step.", parameters, execute: ({ number }) => step(number) });

await run({
  simple: async () => (await ask(agent(), prompt)).finalOutput,
  async stream() {
    const pieces = [];
    const ran = await ask(agent(), prompt, { stream: true });
    for await (const piece of ran.toTextStream()) pieces.push(piece);
    await ran.completed;
    return pieces;
  },
  tools: async () => (await ask(agent({ tools: [by_number] }), prompt)).finalOutput,
  async structured() {
    const outputType = z.object({ city: z.string(), degrees: z.number() });
    return (await ask(agent({ outputType }), prompt)).finalOutput;
  },
  async images() {
    const content = [{ type: "input_text", text: prompt }, { type: "input_image", image: pictureUrl() }];
    return (await ask(agent(), [{ role: "user", content }])).finalOutput;
  },
});
