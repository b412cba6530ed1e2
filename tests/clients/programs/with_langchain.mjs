// LangChain for JavaScript.
import { createAgent, providerStrategy, tool } from "langchain";
import { HumanMessage } from "@langchain/core/messages";
import { z } from "zod";

const { prompt, picture, run, step } = await import(process.env.CELL_MODULE);
const asked = { messages: [{ role: "user", content: prompt }] };
const schema = z.object({ number: z.number() });
const by_number = tool(({ number }) => step(number), { name: "step", description: "A step.", schema });

await run({
  simple: async () => (await model.invoke(prompt)).text,
  async stream() {
    const pieces = [];
    for await (const piece of await model.stream(prompt)) if (piece.text) pieces.push(piece.text);
    return pieces;
  },
  async tools() {
    const ran = await createAgent({ model, tools: [by_number] }).invoke(asked, { recursionLimit: 40 });
    return ran.messages.at(-1).text;
  },
  async structured() {
    const weather = z.object({ city: z.string(), degrees: z.number() });
    const ran = await createAgent({ model, tools: [], responseFormat: providerStrategy(weather) }).invoke(asked);
    return ran.structuredResponse;
  },
  async images() {
    const part = { type: "image", mimeType: "image/png", data: picture() };
    return (await model.invoke([new HumanMessage({ contentBlocks: [{ type: "text", text: prompt }, part] })])).text;
  },
});
