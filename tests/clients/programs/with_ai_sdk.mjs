// Vercel's AI SDK.
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const { prompt, picture, run, step } = await import(process.env.CELL_MODULE);
globalThis.AI_SDK_LOG_WARNINGS = false;
const tools = {
  step: tool({
    description: "Do the step of a number.",
    inputSchema: z.object({ number: z.number() }),
    execute: ({ number }) => step(number),
  }),
};

await run({
  async simple() {
    const first = await generateText({ model, prompt });
    const messages = [{ role: "user", content: prompt }, ...first.response.messages, { role: "user", content: prompt }];
    return (await generateText({ model, messages })).text;
  },
  async stream() {
    const pieces = [];
    const { textStream } = streamText({ model, prompt, onError: ({ error }) => { throw error; } });
    for await (const piece of textStream) pieces.push(piece);
    return pieces;
  },
  tools: async () => (await generateText({ model, prompt, tools, stopWhen: stepCountIs(9) })).text,
  async structured() {
    const schema = z.object({ city: z.string(), degrees: z.number().int() });
    return (await generateObject({ model, prompt, schema })).object;
  },
  async images() {
    const content = [{ type: "text", text: prompt }, { type: "image", image: picture(), mediaType: "image/png" }];
    return (await generateText({ model, messages: [{ role: "user", content }] })).text;
  },
});
