"""Runs all scanners side by side, keeps each one's findings as SARIF in `reports/`, fails on what is serious.

Secrets: gitleaks. Code: bandit. Dockerfile: hadolint. Workflows: zizmor. None of them needs a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPORTS = Path("reports")
# Each writes its SARIF to the file given as {}, or to standard output where there is none.
SCANNERS: dict[str, str] = {
    "gitleaks": "gitleaks dir . --no-banner --exit-code 0 --report-format sarif --report-path {}",
    "bandit": "bandit -q -r src scripts -c pyproject.toml --exit-zero -f sarif -o {}",
    "hadolint": "hadolint --no-fail -f sarif Dockerfile",
    "zizmor": "zizmor --offline --no-exit-codes --config .github/zizmor.yml --format sarif .github",
}


def scan(name: str) -> tuple[str, list[dict[str, Any]]]:
    """The findings of one scanner. Exits when the scanner itself fails: silence is not safety."""
    report = REPORTS / f"{name}.sarif"
    command = SCANNERS[name].replace("{}", str(report)).split()
    done = subprocess.run(command, capture_output=True, check=False)
    if "{}" not in SCANNERS[name]:
        report.write_bytes(done.stdout)
    if done.returncode != 0:
        raise SystemExit(f"scan: {name} failed: {done.stderr.decode(errors='replace').strip()[-2000:]}")
    runs = json.loads(report.read_bytes())["runs"]
    return name, [result for run in runs for result in run.get("results", [])]


def place(result: dict[str, Any]) -> str:
    for location in result.get("locations", []):
        physical = location.get("physicalLocation", {})
        line = physical.get("region", {}).get("startLine", "?")
        return f"{physical.get('artifactLocation', {}).get('uri', '?')}:{line}"
    return "?"


def main() -> int:
    REPORTS.mkdir(exist_ok=True)
    serious = 0
    with ThreadPoolExecutor() as threads:
        for name, results in threads.map(scan, SCANNERS):
            errors = [result for result in results if result.get("level", "warning") == "error"]
            # A secret that was found is serious, whatever level the tool gives it.
            errors = results if name == "gitleaks" else errors
            serious += len(errors)
            print(f"{name}: {len(results)} findings, {len(errors)} serious")
            for result in results:
                print(
                    f"  {place(result)}: {result.get('ruleId')}: {result['message']['text'].splitlines()[0]}"
                )
    return 1 if serious else 0


if __name__ == "__main__":
    sys.exit(main())
