// Anthropic's SDK for JavaScript, with its runner of tools and its parsed answers; the model thinks.
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";

const { prompt, picture, run, step } = await import(process.env.CELL_MODULE);
const asked = { model: "claude-sonnet-4-5", max_tokens: 4000, messages: [{ role: "user", content: prompt }] };
const thinking = { type: "enabled", budget_tokens: 1024 };
const textOf = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");

await run({
  simple: async () => textOf(await client.messages.create({ ...asked, thinking })),
  async stream() {
    const pieces = [];
    const events = client.messages.stream({ ...asked, thinking }).on("text", (piece) => pieces.push(piece));
    await events.finalMessage();
    return pieces;
  },
  async tools() {
    const inputSchema = z.object({ number: z.number() });
    const by_number = betaZodTool({ name: "step", description: "A step.", inputSchema, run: ({ number }) => step(number) });
    return textOf(await client.beta.messages.toolRunner({ ...asked, thinking, tools: [by_number] }).runUntilDone());
  },
  async structured() {
    const format = zodOutputFormat(z.object({ city: z.string(), degrees: z.number() }));
    return (await client.messages.parse({ ...asked, output_config: { format } })).parsed_output;
  },
  async images() {
    const source = { type: "base64", media_type: "image/png", data: picture() };
    const content = [{ type: "image", source }, { type: "text", text: prompt }];
    return textOf(await client.messages.create({ ...asked, messages: [{ role: "user", content }] }));
  },
});
