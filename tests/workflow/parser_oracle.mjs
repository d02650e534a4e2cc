// Parses a list of workflow texts with GitHub's own library; prints for each its errors with their places, and the
// structure of its jobs, as JSON.
import { readFileSync } from "node:fs";
import { register } from "node:module";
import { pathToFileURL } from "node:url";
// The library imports its schema as JSON in a way that only bundlers understand.
const hook = `import { readFile } from "node:fs/promises";
export async function load(url, context, next) {
  if (!url.endsWith(".json")) return next(url, context);
  const source = "export default " + (await readFile(new URL(url), "utf8"));
  return { format: "module", source, shortCircuit: true };
}`;
register("data:text/javascript," + encodeURIComponent(hook));
const folder = process.argv[2];
const load = (path) => import(pathToFileURL(`${folder}/${path}`).href);
const { parseWorkflow, convertWorkflowTemplate, NoOperationTraceWriter } = await load("workflow-parser/dist/index.js");
const { TemplateContext, TemplateValidationErrors } = await load("workflow-parser/dist/templates/template-context.js");
const { getWorkflowSchema } = await load("workflow-parser/dist/workflows/workflow-schema.js");
const { FeatureFlags } = await load("expressions/dist/features.js");
const featureFlags = new FeatureFlags({ all: true });

function text(token) {
  if (token === undefined || token === null) return null;
  if (token.isExpression) return token.toDisplayString ? token.toDisplayString() : String(token);
  return token.value === undefined ? token.toString() : token.value;
}
function step(item) {
  const kind = ["run", "uses", "wait", "wait-all", "cancel", "parallel"].find((name) => item[name] !== undefined);
  const id = item.id.startsWith("__") ? "" : item.id;
  const inner = kind === "parallel" ? item.parallel.map(step) : null;
  return { id, kind, background: Boolean(item.background), parallel: inner };
}
function matrix(strategy) {
  if (!strategy || strategy.isExpression) return null;
  for (const pair of strategy) {
    if (pair.key.value !== "matrix") continue;
    if (pair.value.isExpression || !pair.value[Symbol.iterator]) return null;
    const shape = {};
    for (const axis of pair.value) shape[String(axis.key.value)] = axis.value.count ?? null;
    return shape;
  }
  return null;
}
function job(item) {
  return {
    id: item.id.value,
    needs: (item.needs || []).map((need) => need.value),
    called: item.type === "reusableWorkflowJob" ? item.ref.value : "",
    matrix: matrix(item.strategy),
    steps: (item.steps || []).map(step),
  };
}
const answers = [];
for (const content of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    const context = new TemplateContext(
      new TemplateValidationErrors(),
      getWorkflowSchema(),
      new NoOperationTraceWriter(),
    );
    context.state.featureFlags = featureFlags;
    const parsed = parseWorkflow({ name: "w.yml", content }, context);
    let jobs = null;
    if (parsed.value) {
      const template = await convertWorkflowTemplate(parsed.context, parsed.value, undefined, {
        errorPolicy: 1,
        featureFlags,
      });
      jobs = template.jobs ? template.jobs.map(job) : null;
    }
    const errors = parsed.context.errors.getErrors().map((error) => ({
      message: error.rawMessage,
      line: error.range ? error.range.start.line : 0,
      column: error.range ? error.range.start.column : 0,
    }));
    answers.push({ errors, jobs: errors.length ? null : jobs });
  } catch (error) {
    answers.push({ crash: String(error) });
  }
}
process.stdout.write(JSON.stringify(answers));
