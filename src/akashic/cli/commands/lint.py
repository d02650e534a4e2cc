"""`akashic lint`: what is wrong or risky in workflow files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from akashic.cli.command import CommandContext
from akashic.errors import EXIT_FAILED, EXIT_OK, AkashicError, UsageError
from akashic.source.position import Position, Problem
from akashic.workflow.action import ActionInput, ActionMetadata, ActionOutput, ActionRuns, parse_action
from akashic.workflow.lint import RULES, lint_action, lint_workflow
from akashic.workflow.model import Template

HELP = "check workflow files: syntax, expressions, actions, script injection"
FORMATS = ("text", "json", "sarif", "github")
_WORKFLOWS = Path(".github", "workflows")
_ACTION_FILES = ("action.yml", "action.yaml")
_ENDINGS = (".yml", ".yaml")
_COLORS = {"error": "31", "warning": "33", "info": "36"}
_SARIF_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_GITHUB_LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="files or folders (every file in .github/workflows)"
    )
    parser.add_argument("--format", choices=FORMATS, default=None, help="default: text")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    root = _root(context.cwd)
    files = _named(args.files, context.cwd) if args.files else _workflow_files(root, context.cwd)
    actions = _Actions(root, context)
    problems: list[Problem] = []
    for file in files:
        try:
            text = (context.cwd / file).read_bytes()
        except OSError as error:
            raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
        if file.name in _ACTION_FILES:
            problems.extend(lint_action(text, str(file), actions.resolve))
        else:
            problems.extend(lint_workflow(text, str(file), actions.resolve))
    _present(problems, files, args.format, context)
    failed = any(problem.severity == "error" for problem in problems)
    return EXIT_FAILED if failed else EXIT_OK


def _root(cwd: Path) -> Path:
    return next((folder for folder in (cwd, *cwd.parents) if (folder / _WORKFLOWS).is_dir()), cwd)


def _named(files: Sequence[str], cwd: Path) -> list[Path]:
    """The files that were named; a folder stands for the workflows in it."""
    found: list[Path] = []
    for file in map(Path, files):
        if (cwd / file).is_dir():
            found += [file / one.name for one in sorted((cwd / file).iterdir()) if one.suffix in _ENDINGS]
        else:
            found.append(file)
    if not found:
        raise UsageError(f"{' '.join(files)}: there is no workflow to check")
    return found


def _workflow_files(root: Path, cwd: Path) -> list[Path]:
    folder = root / _WORKFLOWS
    files = sorted(file for file in folder.glob("*") if file.suffix in _ENDINGS)
    if not files:
        raise UsageError(
            f"{folder}: there is no workflow to check", hint="name the files, or call akashic in a repository"
        )
    return [file.relative_to(cwd) if file.is_relative_to(cwd) else file for file in files]


class _Actions:
    """Finds the metadata of local and built-in actions, and of those that a run has fetched; lint itself
    uses no network."""

    def __init__(self, root: Path, context: CommandContext) -> None:
        self.root = root
        self._context = context

    def resolve(self, uses: str) -> ActionMetadata | None:
        if uses.startswith(("./", "$/")):
            return self._local(f"./{uses[2:]}")
        name, _, ref = uses.partition("@")
        return _builtin(name, ref) or self._fetched(uses)

    def _fetched(self, uses: str) -> ActionMetadata | None:
        # Imported for workflows that use foreign actions only: the cache brings the runner along.
        from akashic.app.driving import action_cache
        from akashic.runner.actions.resolve import read_metadata
        from akashic.runner.actions.uses import RepositoryUse, parse_uses

        try:
            use = parse_uses(uses)
            if not isinstance(use, RepositoryUse):
                return None
            cache = action_cache(self._context.application())
            commit = cache.known_commit(use)
            folder = cache.folder(use, commit) if commit else None
            return read_metadata(folder / use.path, uses, within=folder) if folder is not None else None
        except (OSError, AkashicError):
            return None

    def _local(self, uses: str) -> ActionMetadata | None:
        folder = (self.root / uses).resolve()
        if not folder.is_relative_to(self.root.resolve()):
            return None
        for name in _ACTION_FILES:
            file = folder / name
            try:
                return parse_action(file.read_bytes(), f"{uses}/{name}")
            except (OSError, AkashicError):
                continue
        return None


def _builtin(name: str, ref: str) -> ActionMetadata | None:
    # Imported for the workflows that use actions only: it brings the runner's helpers along.
    from akashic.actions.registry import find

    builtin = find(name, ref)
    if builtin is None:
        return None
    place = Position(name)
    return ActionMetadata(
        path=name,
        name=name,
        inputs={
            item.name: ActionInput(
                name=item.name,
                required=item.required,
                default=Template(item.default, place) if item.default or not item.required else None,
                deprecation_message=item.deprecated,
            )
            for item in builtin.inputs
        },
        outputs={output: ActionOutput(name=output) for output in builtin.outputs},
        runs=ActionRuns(using="node24"),
    )


def _present(
    problems: Sequence[Problem], files: Sequence[Path], format_: str | None, context: CommandContext
) -> None:
    if format_ is None and context.json:
        for problem in problems:
            print(json.dumps(_record(problem)), file=context.stdout)
    elif format_ == "json":
        print(json.dumps([_record(problem) for problem in problems], indent=2), file=context.stdout)
    elif format_ == "sarif":
        print(json.dumps(_sarif(problems), indent=2), file=context.stdout)
    elif format_ == "github":
        for problem in problems:
            print(_workflow_command(problem), file=context.stdout)
    else:
        _print_text(problems, files, context)


def _record(problem: Problem) -> dict[str, Any]:
    place = problem.position
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "severity": problem.severity,
        "rule": problem.rule,
        "message": f"{problem.message} ({problem.hint})" if problem.hint else problem.message,
    }


def _print_text(problems: Sequence[Problem], files: Sequence[Path], context: CommandContext) -> None:
    counts = dict.fromkeys(_COLORS, 0)
    hinted: set[str] = set()
    for problem in problems:
        counts[problem.severity] += 1
        severity: str = problem.severity
        if context.color:
            severity = f"\x1b[{_COLORS[severity]}m{severity}\x1b[0m"
        print(_safe(f"{problem.position}: "), end="", file=context.stdout)
        print(f"{severity}: {_safe(problem.message)} [{problem.rule}]", file=context.stdout)
        # Said once: thirty actions that are not pinned are one piece of advice.
        if problem.hint and problem.hint not in hinted:
            hinted.add(problem.hint)
            print(f"  hint: {_safe(problem.hint)}", file=context.stdout)
    checked = f"{len(files)} file{'' if len(files) == 1 else 's'}"
    if not problems:
        print(f"{checked}: nothing to complain about", file=context.stdout)
        return
    summary = ", ".join(f"{count} {severity}{_plural(severity, count)}" for severity, count in counts.items())
    print(f"\n{checked}: {summary}", file=context.stdout)


def _plural(severity: str, count: int) -> str:
    return "" if count == 1 or severity == "info" else "s"


def _safe(text: str) -> str:
    """Without control characters: a workflow's words must not steer the terminal."""
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in text)


def _workflow_command(problem: Problem) -> str:
    place = problem.position
    properties = {"file": place.file, "line": place.line, "col": place.column, "title": problem.rule}
    shown = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in properties.items() if value)
    message = f"{problem.message}\n{problem.hint}" if problem.hint else problem.message
    return f"::{_GITHUB_LEVELS[problem.severity]} {shown}::{_escaped(message, '')}"


def _escaped(text: str, more: str) -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _sarif(problems: Sequence[Problem]) -> dict[str, Any]:
    """SARIF 2.1.0, as GitHub's code scanning reads it."""
    rules = sorted({problem.rule for problem in problems})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "akashic lint",
                        "rules": [
                            {"id": rule, "shortDescription": {"text": RULES.get(rule, rule)}}
                            for rule in rules
                        ],
                    }
                },
                "results": [
                    {
                        "ruleId": problem.rule,
                        "ruleIndex": rules.index(problem.rule),
                        "level": _SARIF_LEVELS[problem.severity],
                        "message": {"text": f"{problem.message}. {problem.hint}".strip()},
                        "locations": [_sarif_location(problem.position)],
                    }
                    for problem in problems
                ],
            }
        ],
    }


def _sarif_location(place: Position) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": Path(place.file).as_posix()}}
    if place.line:
        location["region"] = {"startLine": place.line, "startColumn": max(place.column, 1)}
    return {"physicalLocation": location}
