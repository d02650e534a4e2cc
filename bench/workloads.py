"""The repositories that are measured, and how to see that their work was done.

Each workload is a workflow, the files beside it, and what must be in the output how often. Both tools get
the same repository.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

STEPS = 200
MATRIX_JOBS = 60
TREE_FILES = 3000
CHECKOUT_JOBS = 8
LOG_LINES = 1_000_000
SECRETS = {f"TOKEN_{n}": f"s3cr3t-value-number-{n}-{'x' * n}" for n in range(10)}

HEAD = "name: measured\non: push\njobs:\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`budget` is the most that akashic / act may be. `expected` maps a text to how many lines of the output
    must hold it; `forbidden` texts must not occur."""

    name: str
    title: str
    budget: float
    workflow: str
    expected: Mapping[str, int]
    forbidden: tuple[str, ...] = ()
    files: int = 0
    scripts: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    runs: int = 7


def two_steps() -> Workload:
    return Workload(
        name="two-steps",
        title="one job, two steps",
        budget=0.6,
        workflow=HEAD + job("hello", ["echo the first is done", "echo the second is done"]),
        expected={"| the first is done": 1, "| the second is done": 1},
        runs=11,
    )


def outputs() -> Workload:
    """Five jobs, fourteen steps, an output that travels across a `needs`."""
    workflow = HEAD + (
        "  make:\n    runs-on: ubuntu-latest\n    outputs:\n      number: ${{ steps.count.outputs.number }}\n"
        "    steps:\n"
        "      - run: echo made it\n"
        '      - id: count\n        run: echo "number=4711" >> "$GITHUB_OUTPUT"\n'
    )
    for name in ("unit", "api", "ui"):
        workflow += (
            f"  {name}:\n    needs: make\n    runs-on: ubuntu-latest\n    steps:\n"
            f"      - run: echo {name} begins\n"
            f'      - run: echo "{name} got ${{{{ needs.make.outputs.number }}}}"\n'
            f"      - run: echo {name} ends\n"
        )
    workflow += (
        "  report:\n    needs: [unit, api, ui]\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - run: echo reporting\n      - run: echo still reporting\n      - run: echo all reported\n"
    )
    expected = {f"| {name} got 4711": 1 for name in ("unit", "api", "ui")} | {"| all reported": 1}
    return Workload(
        name="outputs",
        title="five jobs, fourteen steps, an output across a needs",
        budget=0.6,
        workflow=workflow,
        expected=expected,
    )


def many_steps() -> Workload:
    return Workload(
        name="steps",
        title=f"one job, {STEPS} steps",
        budget=0.45,
        workflow=HEAD + job("long", [f"echo step-{n:03}-is-done" for n in range(STEPS)]),
        expected={f"| step-{n:03}-is-done": 1 for n in range(STEPS)},
    )


def matrix() -> Workload:
    numbers = ", ".join(str(n) for n in range(MATRIX_JOBS))
    return Workload(
        name="matrix",
        title=f"matrix of {MATRIX_JOBS} jobs, four steps each",
        budget=0.45,
        workflow=HEAD
        + "  cell:\n    runs-on: ubuntu-latest\n    strategy:\n      matrix:\n"
        + f"        number: [{numbers}]\n    steps:\n"
        + "".join(f"      - run: echo cell ${{{{ matrix.number }}}} part {part}, done\n" for part in "abcd"),
        expected={f"| cell {n} part d, done": 1 for n in range(MATRIX_JOBS)},
        runs=5,
    )


def checkout() -> Workload:
    names = [f"reader{n}" for n in range(CHECKOUT_JOBS)]
    workflow = HEAD + "".join(
        f"  {name}:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n"
        f'      - run: echo "{name} sees $(find tree -type f | wc -l) files"\n'
        for name in names
    )
    return Workload(
        name="checkout",
        title=f"{CHECKOUT_JOBS} jobs that check out a tree of {TREE_FILES:,} files",
        budget=0.15,
        workflow=workflow,
        expected={f"| {name} sees {TREE_FILES} files": 1 for name in names},
        files=TREE_FILES,
        runs=5,
    )


def log() -> Workload:
    script = (
        "import os, sys\n"
        "secrets = [os.environ[f'TOKEN_{n}'] for n in range(10)]\n"
        f"for n in range({LOG_LINES}):\n"
        "    tail = secrets[n // 1000 % 10] if n % 1000 == 0 else 'nothing to see'\n"
        "    sys.stdout.write(f'line {n:07} of the log, {tail}\\n')\n"
    )
    env = "".join(f"          {name}: ${{{{ secrets.{name} }}}}\n" for name in SECRETS)
    workflow = (
        HEAD
        + "  print:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n"
        + f"      - env:\n{env}        run: python3 print_lines.py\n"
    )
    return Workload(
        name="log",
        title=f"one step that prints {LOG_LINES:,} lines, ten secrets to mask",
        budget=0.5,
        workflow=workflow,
        expected={
            "of the log, nothing to see": LOG_LINES - LOG_LINES // 1000,
            "of the log, ***": LOG_LINES // 1000,
        },
        forbidden=tuple(SECRETS.values()),
        secrets=SECRETS,
        scripts={"print_lines.py": script},
        runs=3,
    )


def job(name: str, commands: list[str]) -> str:
    steps = "".join(f"      - run: {command}\n" for command in commands)
    return f"  {name}:\n    runs-on: ubuntu-latest\n    steps:\n{steps}"


ALL = (two_steps, outputs, many_steps, matrix, checkout, log)


def make_repository(workload: Workload, folder: Path) -> None:
    """A git repository with one commit that holds the workload."""
    (folder / ".github" / "workflows").mkdir(parents=True)
    (folder / ".github" / "workflows" / "measured.yml").write_text(workload.workflow)
    for name, text in workload.scripts.items():
        (folder / name).write_text(text)
    for number in range(workload.files):
        file = folder / "tree" / f"part{number // 100:02}" / f"file{number:04}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"The content of file {number}.\n" * 20)
    commit(folder)


def commit(folder: Path) -> None:
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false")
    for arguments in (("init", "-q", "-b", "main"), ("add", "-A"), (*who, "commit", "-q", "-m", "measured")):
        subprocess.run(("git", *arguments), cwd=folder, check=True, capture_output=True)


def check(workload: Workload, output: Path) -> list[str]:
    """What is wrong with what a tool printed; empty when it did the work."""
    counts = dict.fromkeys(workload.expected, 0)
    leaked: set[str] = set()
    with output.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.rstrip()
            if len(counts) > 20:  # many whole lines are expected: look the line up instead of trying each
                key = text[text.find("| ") :]
                if key in counts:
                    counts[key] += 1
            else:
                for key in counts:
                    counts[key] += key in text
            leaked.update(secret for secret in workload.forbidden if secret in text)
    wrong = [
        f"{key!r} stands in {counts[key]} lines, expected {wanted}"
        for key, wanted in workload.expected.items()
        if counts[key] != wanted
    ]
    return wrong + [f"a secret of {len(secret)} characters was printed" for secret in sorted(leaked)]
