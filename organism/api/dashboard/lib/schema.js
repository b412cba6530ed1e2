// The daemon's own description of its API, read: operations, what they take, and an example of a body.

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEPTH_MAX = 4;

/** Every operation of an OpenAPI document by what it is about, as the paths begin. */
export function grouped(document) {
  const groups = new Map();
  for (const [path, operations] of Object.entries(document.paths).sort(([one], [other]) => (one < other ? -1 : 1))) {
    const group = path.startsWith("/v1/") ? path.split("/")[2].replace("-", " ") : "health";
    for (const method of METHODS.filter((each) => operations[each])) {
      groups.set(group, [...(groups.get(group) ?? []), { method, path, ...operations[method] }]);
    }
  }
  return [...groups].sort(([one], [other]) => (one < other ? -1 : 1));
}

/** The first sentence of what an operation does. */
export const headline = ({ description = "", summary = "" }) => (description || summary).split(/(?<=\.)\s/)[0];

/** Text of a description without the marks that stand around code. */
export const prose = (text) => text.replaceAll("``", "").replaceAll("`", "");

/** A schema behind its reference, and without the null that says that it may be left out. */
export function resolved(document, schema = {}) {
  if (schema.$ref) return resolved(document, document.components.schemas[schema.$ref.split("/").at(-1)]);
  const choices = (schema.oneOf ?? schema.anyOf)?.filter((each) => each.type !== "null");
  return choices?.length === 1 ? { ...resolved(document, choices[0]), description: schema.description } : schema;
}

/** The values that there are to choose from; null is none of them. */
export const values = (schema) => schema.enum.filter((each) => each !== null);

/** What a value is, in words. */
export function kind(document, given) {
  const schema = resolved(document, given);
  if (schema.enum) return values(schema).join(", ");
  if (schema.type === "array") return `list of ${kind(document, schema.items)}`;
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return [...new Set(choices.map((each) => kind(document, each)))].join(" or ");
  const [low, high] = [schema.minimum, schema.maximum];
  const bounds = low !== undefined && high !== undefined ? `, ${low} to ${high}` : low !== undefined ? `, at least ${low}` : high !== undefined ? `, at most ${high}` : "";
  return ({ integer: "whole number", number: "number", boolean: "true or false", string: "text", null: "nothing" }[schema.type] ?? "object") + bounds;
}

/** The fields of a body: name, whether it must be there, what it is and means. */
export function fields(document, given) {
  const schema = resolved(document, given);
  return Object.entries(schema.properties ?? {}).map(([name, field]) => ({
    name, required: schema.required?.includes(name) ?? false, kind: kind(document, field),
    description: field.description ?? resolved(document, field).description ?? "",
  }));
}

/** A body to begin with: what must be there, and where nothing must, the first field that there is. */
export function example(document, given, depth = 0) {
  const schema = resolved(document, given);
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.enum) return values(schema)[0];
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return example(document, choices[0], depth);
  if (schema.type === "array") return [];
  if (schema.properties && depth < DEPTH_MAX) {
    const names = Object.keys(schema.properties);
    const wanted = schema.required?.length ? schema.required : depth ? [] : names.slice(0, 1);
    return Object.fromEntries(wanted.map((name) => [name, example(document, schema.properties[name], depth + 1)]));
  }
  return { integer: schema.minimum ?? 1, number: schema.minimum ?? 1, boolean: true, string: "" }[schema.type] ?? {};
}

/** Whether a query takes a parameter several times. */
export const several = (document, schema) => resolved(document, schema).type === "array";

/** A path with its parameters in place; those without a value stay as they are. */
export const filled = (path, values) => path.replace(/\{(\w+)\}/g, (found, name) => (values[name] ? encodeURIComponent(values[name]) : found));

/** A request as a command for a shell: nothing in it is run, whatever was typed. */
export function command(method, url, body) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ["curl", method === "get" ? "" : `-X ${method.toUpperCase()}`, `-H "Authorization: Bearer $(cat .organism/token)"`];
  if (body) parts.push(`-H 'Content-Type: application/json' -d ${quoted(body)}`);
  return [...parts, quoted(url)].filter(Boolean).join(" ");
}
