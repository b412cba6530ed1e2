// Mastra.
import { Agent } from "@mastra/core/agent";
import { createTool } from "@mastra/core/tools";
import { z } from "zod";

const { prompt, pictureUrl, run, step } = await import(process.env.CELL_MODULE);
const inputSchema = z.object({ number: z.number() });
const by_number = createTool({
  id: "step",
  description: "A step.",
  inputSchema,
  execute: async (given) => step(given.number ?? given.context.number),
});
const agent = (more) => new Agent({ id: "guard", name: "guard", instructions: "Be brief.", model, ...more });

await run({
  simple: async () => (await agent().generate(prompt)).text,
  async stream() {
    const pieces = [];
    for await (const piece of (await agent().stream(prompt)).textStream) pieces.push(piece);
    return pieces;
  },
  tools: async () => (await agent({ tools: { step: by_number } }).generate(prompt, { maxSteps: 9 })).text,
  async structured() {
    const schema = z.object({ city: z.string(), degrees: z.number() });
    return (await agent().generate(prompt, { structuredOutput: { schema } })).object;
  },
  async images() {
    const content = [{ type: "text", text: prompt }, { type: "image", image: pictureUrl(), mimeType: "image/png" }];
    return (await agent().generate([{ role: "user", content }])).text;
  },
});
