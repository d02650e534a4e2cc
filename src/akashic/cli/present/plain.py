"""Plain lines, for pipes, CI and `--no-color`: every line bears its job's name."""

from __future__ import annotations

import threading
from typing import TextIO

from akashic.cli.present.style import Style, duration
from akashic.cli.present.texts import headline, job_words, label, log_text, reason_shown, shown_log
from akashic.engine.events import (
    GateOpened,
    GatePassed,
    GateReopened,
    GateReviewed,
    JobFinished,
    JobInterrupted,
    JobRefused,
    JobSkipped,
    JobStarted,
    RunEvent,
    RunResumed,
    StepFinished,
)
from akashic.engine.runstate import RunState

EXIT_CODE = "Process completed with exit code"


class PlainPresenter:
    """A RunObserver that writes lines. `show_logs` includes what the steps print."""

    def __init__(self, out: TextIO, *, show_logs: bool, prefix: str = "") -> None:
        self._out = out
        self._show_logs = show_logs
        self._prefix = prefix
        self._lock = threading.Lock()
        self._style = Style(False)
        self._begun = False
        self._words: dict[str, str] = {}

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        if not self._begun:
            # The first event of a run was appended before anyone watched.
            self._begun = True
            self._line("", headline(state))
        if isinstance(event, GateOpened | JobStarted | JobFinished) and event.key not in self._words:
            self._words[event.key] = job_words(state, event.key)
        elif isinstance(event, JobSkipped | JobRefused) and event.job not in self._words:
            self._words[event.job] = job_words(state, event.job)
        match event:
            case RunResumed():
                self._line("", f"run {state.created.sequence} is taken on again by {event.by}")
            case JobStarted(key=key, attempt=attempt):
                again = f" (attempt {attempt})" if attempt > 1 else ""
                self._line(key, f"started{again}")
            case StepFinished(key=key, step=step):
                mark = self._style.mark(step.conclusion)
                took = duration(step.duration_s)
                if step.reused_from:
                    took = f"not run again: as in attempt {step.reused_from}"
                # What a process ended with stands among its lines, when these are shown.
                error = "" if self._show_logs and step.error.startswith(EXIT_CODE) else step.error
                first, *more = error.split("\n")
                self._line(key, f"{mark} {label(step.name)} ({took}){f': {first}' if first else ''}")
                for line in more:
                    self._line(key, f"  {line}")
            case JobFinished(key=key, result=result):
                mark = self._style.mark(result.conclusion)
                reason = reason_shown(state.instances[key].steps, result.reason)
                self._line(
                    key,
                    f"{mark} {result.conclusion} in {duration(result.duration_s)}{reason and f': {reason}'}",
                )
            case JobSkipped(job=job, reason=reason):
                self._line(job, f"{self._style.mark('skipped')} skipped: {reason}")
            case JobRefused(job=job, reason=reason):
                self._line(job, f"{self._style.mark('failure')} cannot run: {reason}")
            case JobInterrupted(key=key, reason=reason):
                self._line(key, f"{self._style.mark('interrupted')} interrupted: {reason}")
            case GateOpened(key=key, environment=environment, approvals_needed=needed) if needed:
                self._line(key, f"{self._style.mark('waiting')} waits for approval of {environment}")
            case GateReopened(key=key, reason=reason):
                self._line(key, f"{self._style.mark('waiting')} must be approved again: {reason}")
            case GateReviewed(key=key, by=by, approved=approved):
                self._line(key, f"{'approved' if approved else 'rejected'} by {by}")
            case GatePassed(key=key, approved_by=approved_by) if approved_by:
                self._line(key, f"{self._style.mark('success')} may start")
            case _:
                return

    def job_ready(self, key: str, notes: tuple[str, ...]) -> None:
        for note in notes:
            self._line(key, f"note: {note}")

    def step_started(self, key: str, number: int, name: str) -> None:
        return

    def lines(self, key: str, number: int, block: str) -> None:
        """Complete lines at once: one lock and one write for all of them."""
        if not self._show_logs:
            return
        lead = f"{self._prefix}[{label(self._words.get(key, key))}]   | "
        block = block.removesuffix("\n")
        if "##[" in block:
            shown = [text for line in block.split("\n") if (text := log_text(line)) is not None]
            if not shown:
                return
            text = "\n".join(shown)
        else:
            text = shown_log(block, color=False)
        with self._lock:
            self._out.write(lead + text.replace("\n", "\n" + lead) + "\n")
            self._out.flush()

    def close(self) -> None:
        return

    def _line(self, key: str, text: str) -> None:
        lead = f"{self._prefix}[{label(self._words.get(key, key))}] " if key else self._prefix
        first, *more = [label(line) for line in text.split("\n")]
        with self._lock:
            self._out.write(lead + "\n".join((first, *(f"{lead}    {line}" for line in more))) + "\n")
            self._out.flush()
