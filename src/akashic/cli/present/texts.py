"""The sentences about runs that all presenters share."""

from __future__ import annotations

import re
from collections.abc import Iterable

from akashic.cli.present.style import Style, duration
from akashic.engine.requests import StepReport
from akashic.engine.runstate import RunState
from akashic.engine.view import JobView, RunView
from akashic.runner.terminal import safe_for_terminal

LOG_TAIL_LINES = 30

_SGR = re.compile(r"\x1b\[[0-9;:]*m")
_IN_A_LABEL = str.maketrans({"\x1b": "␛", "\n": "␊", "\t": " "})


def label(text: str) -> str:
    """A name or short reason for one line of a terminal: neither colours nor line ends, which would let a
    job's name pass for our own words."""
    return safe_for_terminal(text).translate(_IN_A_LABEL)


def shown_log(text: str, *, color: bool) -> str:
    """Log text for the reader: with its colours, which end with each line, or without any."""
    text = safe_for_terminal(text)
    if "\x1b" not in text:
        return text
    if not color:
        return _SGR.sub("", text)
    return "\n".join(f"{line}\x1b[0m" if "\x1b" in line else line for line in text.split("\n"))


def headline(state: RunState) -> str:
    """`run 3 · ci-cd · push to main · 1a2b3c4`; says when uncommitted changes are in it."""
    created = state.created
    root = state.frames.get("")
    title = root.workflow.title if root is not None else created.workflow_path
    ref = str(created.github.get("ref_name", ""))
    commit = created.commit[:7] + (" + uncommitted changes" if created.dirty else "")
    where = f" to {ref}" if created.event_name == "push" and ref else f" on {ref}" if ref else ""
    name = f" · {state.name}" if state.name else ""
    return label(f"run {created.sequence} · {title}{name} · {created.event_name}{where} · {commit}")


def job_words(state: RunState, key: str) -> str:
    """A job's key as people read it: `test (linux, 3.12)` for `test(1)`, a cell of a matrix; calls before it
    likewise."""
    if "(" not in key:
        return key
    from akashic.workflow.matrix import leaves  # only a run with a matrix pays for it

    words: list[str] = []
    path = above = ""
    for part in key.split("/"):
        path = f"{path}/{part}" if path else part
        instance = state.instances.get(path)
        if instance is not None and instance.matrix and part.endswith(")"):
            name = part.rpartition("(")[0]
            own = instance.name.removeprefix(above)
            # A job with a `name:` of its own is still called by its id here, which `-j` takes.
            values = ", ".join(text for one in instance.matrix.values() for text in leaves(one))
            part = own if own.startswith(f"{name} (") else f"{name} ({values})" if values else part
        above = f"{instance.name} / " if instance is not None else ""
        words.append(part)
    return "/".join(words)


def reason_shown(steps: Iterable[StepReport], reason: str) -> str:
    """Why a job ended as it did; of a step that has told it itself only the name."""
    for step in steps:
        if step.error and reason == f"{step.name}: {step.error}":
            return step.name
    return reason


def job_note(job: JobView) -> str:
    """What stands behind a job's name: its time, what it waits for, or why it did not run."""
    if job.status == "finished":
        if job.conclusion == "skipped":
            return f"skipped: {job.reason}" if job.reason else "skipped"
        took = duration(job.duration_s)
        return took if job.conclusion == "success" or not job.reason else f"{took}  {job.reason}"
    if job.status == "running":
        return duration(job.duration_s)
    return "waits for " + ", ".join(job.waits_for) if job.waits_for else ""


def job_kind(job: JobView) -> str:
    """The name of the mark and colour that fit a job."""
    if job.status == "finished":
        return job.conclusion or "skipped"
    return {"running": "running", "blocked": "waiting"}.get(job.status, "queued")


_LOG_MARKS = {
    "##[group]": "▸ ",
    "##[error]": "error: ",
    "##[warning]": "warning: ",
    "##[notice]": "notice: ",
    "##[debug]": "debug: ",
    "##[command]": "$ ",
}


def log_text(text: str, *, color: bool = False) -> str | None:
    """A log line as people read it: the runner's marks as words, None for a mark that only ends a group."""
    if not text.startswith("##["):
        return shown_log(text, color=color)
    if text.startswith("##[endgroup]"):
        return None
    for mark, word in _LOG_MARKS.items():
        if text.startswith(mark):
            return word + shown_log(text[len(mark) :], color=color)
    return shown_log(text, color=color)


def verdict(view: RunView, style: Style) -> str:
    """The last line about a run."""
    conclusion = view.conclusion or "interrupted"
    words = {
        "success": "succeeded",
        "failure": "failed",
        "cancelled": "was cancelled",
        "timed_out": "timed out",
        "interrupted": "was interrupted",
        "skipped": "had nothing to do",
    }
    done = sum(job.conclusion == "success" for job in view.jobs)
    text = f"run {view.sequence} {words[conclusion]} in {duration(view.duration_s)}"
    counts = f"{done} of {len(view.jobs)} jobs succeeded"
    skipped = sum(job.conclusion == "skipped" for job in view.jobs)
    if skipped:
        counts += f", {skipped} skipped"
    reason = f": {view.reason}" if view.reason and conclusion != "success" else ""
    return f"{style.mark(conclusion)} {style(conclusion, text)} ({counts}){label(reason)}"
