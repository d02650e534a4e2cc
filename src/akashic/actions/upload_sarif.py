"""`github/codeql-action/upload-sarif`. Source: its metadata and GitHub's "Uploading a SARIF file".

The findings stay on this machine: files are checked against what GitHub accepts, kept as an artifact named
after the category, shown as annotations of the run, and counted in the step's summary.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Any

from akashic.actions.inputs import boolean, declare, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin, Level
from akashic.actions.upload_artifact import store
from akashic.journal.archive import Member

FILE_BYTES_MAX = 64 << 20
RUNS_MAX = 20
RESULTS_MAX = 25_000
ANNOTATIONS_MAX = 10
_LEVELS: dict[str, Level] = {"error": "error", "warning": "warning", "note": "notice", "none": "notice"}


def _main(ctx: ActionContext) -> None:
    files = _files(ctx)
    category = text(ctx, "category") or str(ctx.github.get("job") or "sarif")
    boolean(ctx, "wait-for-processing", default=True)
    counts: Counter[str] = Counter()
    shown = 0
    for path in files:
        for rule, level, message, file, line in _results(_load(ctx, path), path):
            counts[level] += 1
            if shown < ANNOTATIONS_MAX:
                ctx.annotate(_LEVELS[level], message, title=rule, file=file, line=line)
                shown += 1
    name = "sarif-" + (re.sub(r'["<>|*?:\\/\s]+', "-", category).strip("-.") or "results")
    members = [
        Member(name=f"{number}-{Path(path).name}" if len(files) > 1 else Path(path).name,
               path=ctx.sandbox.host_path(path))
        for number, path in enumerate(files)
    ]  # fmt: skip
    artifact = store(ctx, name, members, overwrite=True)
    ctx.output("sarif-id", str(artifact.id))
    ctx.output("sarif-ids", json.dumps({category: str(artifact.id)}))
    told = ", ".join(f"{counts[level]} {level}" for level in _LEVELS if counts[level]) or "no findings"
    ctx.summary(f"**{category}**: {told} (artifact `{name}`)\n")
    ctx.log(f"Kept {len(files)} SARIF file(s) as {name}: {told}")


def _files(ctx: ActionContext) -> list[str]:
    wanted = text(ctx, "sarif_file") or "../results"
    path = os.path.normpath(wanted if wanted.startswith("/") else f"{ctx.sandbox.workspace}/{wanted}")
    host = Path(ctx.sandbox.host_path(path))
    if host.is_dir():
        found = [
            f"{path}/{entry.relative_to(host)}"
            for entry in sorted(host.rglob("*.sarif"))
            if stat.S_ISREG(entry.lstat().st_mode)
        ]
        if not found:
            raise ActionFailed(f'No SARIF files found to upload in "{wanted}".')
        return found
    if not host.is_file():
        raise ActionFailed(f"Path does not exist: {wanted}")
    return [path]


def _load(ctx: ActionContext, path: str) -> dict[str, Any]:
    if Path(ctx.sandbox.host_path(path)).stat().st_size > FILE_BYTES_MAX:
        raise ActionFailed(f"{path}: larger than {FILE_BYTES_MAX >> 20} MiB")
    try:
        data = json.loads(Path(ctx.sandbox.host_path(path)).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ActionFailed(f"Invalid SARIF. {path} is not valid JSON: {error}") from error
    runs = data.get("runs") if isinstance(data, dict) else None
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise ActionFailed(f"Invalid SARIF. {path}: expected an object with 'runs', a list of objects")
    if data.get("version") != "2.1.0":
        raise ActionFailed(f"Invalid SARIF. {path}: expected version 2.1.0, got {data.get('version')!r}")
    if len(runs) > RUNS_MAX:
        raise ActionFailed(f"{path}: more than {RUNS_MAX} runs")
    return {"runs": runs}


def _results(data: dict[str, Any], path: str) -> list[tuple[str, str, str, str, int]]:
    """Rule, level, message, file and line of every finding."""
    found = []
    for run in data["runs"]:
        if not isinstance(_at(run, "tool", "driver", "name"), str):
            raise ActionFailed(f"Invalid SARIF. {path}: a run without 'tool.driver.name'")
        rules = {
            rule.get("id"): rule
            for rule in _at(run, "tool", "driver", "rules") or []
            if isinstance(rule, dict)
        }
        results = run.get("results") or []
        if not isinstance(results, list) or len(results) > RESULTS_MAX:
            raise ActionFailed(f"{path}: 'results' is no list, or has more than {RESULTS_MAX} entries")
        for result in results:
            message = _at(result, "message", "text") or _at(result, "message", "markdown")
            if not isinstance(message, str) and not _at(result, "message", "id"):
                raise ActionFailed(f"Invalid SARIF. {path}: a result without a message")
            rule_id = str(_at(result, "ruleId") or _at(result, "rule", "id") or "")
            default = _at(rules.get(rule_id, {}), "defaultConfiguration", "level")
            level = _at(result, "level") or default or "warning"
            places = _at(result, "locations")
            place = _at(places[0], "physicalLocation") if isinstance(places, list) and places else {}
            line = _at(place, "region", "startLine")
            found.append(
                (
                    rule_id,
                    level if level in _LEVELS else "warning",
                    message or rule_id,
                    str(_at(place, "artifactLocation", "uri") or ""),
                    line if isinstance(line, int) else 0,
                )
            )
    return found


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


UPLOAD_SARIF = Builtin(
    name="github/codeql-action/upload-sarif",
    inputs=(
        *declare("category", "ref", "sha"),
        ActionInput(name="sarif_file", default="../results"),
        ActionInput(name="checkout_path", default="${{ github.workspace }}"),
        ActionInput(name="token", default="${{ github.token }}"),
        ActionInput(name="matrix", default="{}"),
        ActionInput(name="wait-for-processing", default="true"),
    ),
    outputs=("sarif-id", "sarif-ids"),
    main=_main,
)
