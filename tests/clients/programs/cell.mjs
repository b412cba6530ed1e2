// What every program has: the cell it is to run, and how it tells what came of it.
import { readFileSync } from "node:fs";

export const cell = process.env.CELL;
export const prompt = process.env.PROMPT;
export const step = (number) => `result-${number * 7}`;
export const picture = () => readFileSync("picture.png").toString("base64");
export const pictureUrl = () => `data:image/png;base64,${picture()}`;

// A stream is what is cancelled; calls in parallel are those of the tools, in three conversations at once.
export async function run(ways) {
  const way = ways[{ cancel: "stream", parallel: "tools" }[cell] ?? cell];
  const found = (await Promise.all(Array.from({ length: cell === "parallel" ? 3 : 1 }, way)))[0];
  if (Array.isArray(found)) console.log(`{"pieces": ${found.length}, "text": ${JSON.stringify(found.join(""))}}`);
  else console.log(JSON.stringify({ text: typeof found === "string" ? found : JSON.stringify(found) }));
  process.exit(0);
}
