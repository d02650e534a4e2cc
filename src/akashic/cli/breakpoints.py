"""A step that stands still, at the terminal: a shell in its place, then retry, continue or abort."""

from __future__ import annotations

import threading

from akashic.cli.command import CommandContext
from akashic.runner.breakpoints import open_shell
from akashic.runner.parts import Answer, Breakpoint, Stop

_ANSWERS: dict[str, Answer] = {"r": "retry", "c": "continue", "a": "abort"}


def terminal_breakpoint(context: CommandContext) -> Breakpoint:
    """A breakpoint that asks at the terminal. One at a time: other jobs that stop wait for their turn."""
    lock = threading.Lock()

    def ask(stop: Stop) -> Answer:
        with lock:
            what = "stands before" if stop.moment == "before" else "failed at"
            context.stderr.write(f"\n{stop.job_key} {what} step {stop.number}, {stop.name}\n")
            if stop.reason:
                context.stderr.write(f"  {stop.reason}\n")
            context.stderr.write("a shell in the step's environment and workspace; leave it with `exit`\n")
            open_shell(stop)
            while True:
                word = input("[r]etry, [c]ontinue or [a]bort? ").strip().lower()[:1]
                if word in _ANSWERS:
                    return _ANSWERS[word]

    return ask
