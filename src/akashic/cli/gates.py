"""What happens when a run stands at a gate: the person at the terminal is asked, or everybody is told how to
answer.

A question ends by itself when somebody answers elsewhere, or when the run ends.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from akashic.cli.asking import line_typed
from akashic.driver.observer import SilentObserver
from akashic.engine.events import GateOpened, GateReopened, GateReviewed, RunCreated, RunEvent, RunResumed
from akashic.engine.gates import refusal_of
from akashic.engine.requests import GateBinding
from akashic.engine.runstate import RunState
from akashic.errors import AkashicError

if TYPE_CHECKING:
    from akashic.app.application import Application
    from akashic.cli.command import CommandContext
    from akashic.cli.conduct import Conductor


class Gates(SilentObserver):
    """The gates of one run. With `approves` each is approved at once, in the name of who runs this."""

    def __init__(
        self,
        application: Application,
        created: RunCreated,
        conductor: Conductor,
        context: CommandContext,
        *,
        approves: bool = False,
    ) -> None:
        self._application = application
        self._created = created
        self._conductor = conductor
        self._context = context
        self._approves = approves
        self._opened: dict[str, tuple[GateOpened, threading.Event]] = {}
        """By job, with what is set when no answer is wanted any more."""

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        if isinstance(event, GateOpened) and event.approvals_needed:
            self._answer(state, event, event.binding)
        elif isinstance(event, GateReopened) and event.key in self._opened:
            self._answer(state, self._opened[event.key][0], event.binding)
        elif isinstance(event, RunResumed):
            # Opened before this process drove the run: nobody has been asked here.
            for instance in state.instances.values():
                gate = instance.gate
                if gate is not None and not gate.passed and gate.opened.approvals_needed:
                    self._answer(state, gate.opened, gate.binding)
        for key, (_, answered) in self._opened.items():
            gate = state.instances[key].gate
            if gate is None or gate.passed or state.finished or state.cancelled:
                answered.set()

    def close(self) -> None:
        """The run is not driven here any more."""
        for _, answered in self._opened.values():
            answered.set()

    def _answer(self, state: RunState, opened: GateOpened, binding: GateBinding) -> None:
        if opened.key in self._opened:
            self._opened[opened.key][1].set()
        answered = threading.Event()
        self._opened[opened.key] = opened, answered
        gate = state.instances[opened.key].gate
        mine = GateReviewed(key=opened.key, by=self._application.user, approved=True, binding=binding)
        refusal = refusal_of(gate, mine) if gate is not None else ""
        asks = self._context.interactive and not self._context.json
        if refusal or not (self._approves or asks):
            why = f"{refusal}; somebody else: " if refusal else "waiting for: "
            self._conductor.say(f"{why}akashic approve {self._created.sequence}")
            return
        # In a thread of its own: the driver waits for this call, and the answer is an event of the same run.
        threading.Thread(target=self._decide, args=(opened, binding, answered), daemon=True).start()

    def _decide(self, opened: GateOpened, binding: GateBinding, answered: threading.Event) -> None:
        if self._approves:
            self._approve(opened, binding, "akashic up --approve")
            return
        with self._conductor.asking:
            if not answered.is_set() and self._ask(opened, binding, answered):
                self._approve(opened, binding, "at the terminal")

    def _approve(self, opened: GateOpened, binding: GateBinding, comment: str) -> None:
        from akashic.app.reviews import approve  # only who answers pays for it

        try:
            approve(self._application, self._created.run_id, opened, binding, comment)
        except AkashicError as error:
            self._conductor.say(error.message)
            self._conductor.say(f"waiting for: akashic approve {self._created.sequence}")

    def _ask(self, opened: GateOpened, binding: GateBinding, answered: threading.Event) -> bool:
        digest = binding.artifact_digest.removeprefix("sha256:")[:12] or "none"
        question = f"approve {opened.environment}: commit {binding.commit[:7]}, artifact {digest}? [y/N] "
        screen = self._conductor.screen
        if screen is not None:
            screen.pause()
        try:
            self._context.stdout.write(question)
            self._context.stdout.flush()
            answer = line_typed(sys.stdin.fileno(), answered.is_set)
            if answer is None:
                self._context.stdout.write("\n")
        finally:
            if screen is not None:
                screen.resume()
        if answer is None:
            return False
        if answer.strip().lower() not in ("y", "yes"):
            self._conductor.say(f"not approved; later: akashic approve {self._created.sequence}")
            return False
        return True
