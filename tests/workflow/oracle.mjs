// Evaluates a list of [expression, contexts] with GitHub's own library; prints [{value}] or [{error}] as JSON.
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
const library = await import(pathToFileURL(process.argv[2]).href);
const { Lexer, Parser, Evaluator, data } = library;
function wrap(value) {
  if (value === null) return new data.Null();
  if (typeof value === "string") return new data.StringData(value);
  if (typeof value === "number") return new data.NumberData(value);
  if (typeof value === "boolean") return new data.BooleanData(value);
  if (Array.isArray(value)) return new data.Array(...value.map(wrap));
  return new data.Dictionary(...Object.entries(value).map(([key, inner]) => ({ key, value: wrap(inner) })));
}
function plain(value) {
  if (value.kind === data.Kind.Null) return null;
  if (value.kind === data.Kind.Array) return value.values().map(plain);
  if (value.kind === data.Kind.Dictionary)
    return Object.fromEntries(value.pairs().map((pair) => [pair.key, plain(pair.value)]));
  if (value.kind === data.Kind.Number)
    return Number.isFinite(value.value) ? value.value : { number: String(value.value) };
  return value.value;
}
const cases = JSON.parse(readFileSync(0, "utf8"));
const results = cases.map(([text, contexts]) => {
  try {
    const tokens = new Lexer(text).lex().tokens;
    const tree = new Parser(tokens, Object.keys(contexts), []).parse();
    return { value: plain(new Evaluator(tree, wrap(contexts)).evaluate()) };
  } catch (error) {
    return { error: String(error.message) };
  }
});
process.stdout.write(JSON.stringify(results));
