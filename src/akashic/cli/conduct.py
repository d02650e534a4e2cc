"""Runs on the way to their end, with their presenters: what `run`, `rerun`, `resume` and `up` share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from akashic.app.application import Application
from akashic.app.driving import DriveOptions, drive, prepare_isolation
from akashic.app.signals import cancel_on_signals
from akashic.cancellation import Cancellation
from akashic.cli.command import CommandContext
from akashic.cli.gates import Gates
from akashic.cli.present.json_lines import JsonPresenter
from akashic.cli.present.plain import PlainPresenter
from akashic.cli.present.style import Style
from akashic.cli.present.summary import failure_lines, summary_lines
from akashic.cli.present.texts import verdict
from akashic.driver.observer import RunObserver
from akashic.engine.codec import decode
from akashic.engine.events import RunCreated
from akashic.engine.runstate import RunState
from akashic.engine.view import view_of
from akashic.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, AkashicError

if TYPE_CHECKING:
    from akashic.cli.present.live import LivePresenter, Screen


class Conductor:
    """Drives runs side by side and shows them. With `approves` their gates are approved at once; `asking` is
    held while something is asked at the terminal."""

    def __init__(
        self,
        application: Application,
        context: CommandContext,
        *,
        show_logs: bool,
        approves: bool = False,
        summary: bool = True,
    ) -> None:
        self._application = application
        self._context = context
        self._show_logs = show_logs
        self._approves = approves
        self.asking = threading.Lock()
        self._summary = summary
        self._style = Style(context.color)
        self.states: list[RunState] = []
        self.screen: Screen | None = None
        self._several = False

    def conduct(self, run_ids: Sequence[str], options: DriveOptions) -> int:
        """Drive all runs to their ends; the exit code: 0 when all succeeded, 130 when interrupted."""
        prepare_isolation(options.sandbox)
        cancellation = Cancellation()
        self._several = len(run_ids) > 1
        live = self._context.color and not self._show_logs
        if live:
            from akashic.cli.present.live import Screen  # only a terminal pays for it

            self.screen = Screen(self._context.stdout, self._style)
        try:
            with cancel_on_signals(cancellation, self.say):
                errors = self._drive_all(run_ids, options, cancellation)
        finally:
            if self.screen is not None:
                self.screen.close()
        if errors:
            raise errors[0]
        if self._summary and not self._context.json:
            # A reader that has gone (`| head`) changes nothing about how the runs ended.
            with suppress(BrokenPipeError):
                self.print_summaries()
        if cancellation.is_set():
            return EXIT_INTERRUPTED
        good = all(state.conclusion in ("success", "skipped") for state in self.states)
        return EXIT_OK if good else EXIT_FAILED

    def _drive_all(
        self, run_ids: Sequence[str], options: DriveOptions, cancellation: Cancellation
    ) -> list[BaseException]:
        errors: list[BaseException] = []

        def one(run_id: str) -> None:
            try:
                self.states.append(self._drive(run_id, options, cancellation))
            except BaseException as error:
                errors.append(error)

        # Python hands signals to the main thread alone. It drives a single run, which mostly waits, too.
        if len(run_ids) == 1:
            one(run_ids[0])
            return errors
        threads = [threading.Thread(target=one, args=(run_id,), name=f"run {run_id}") for run_id in run_ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(timeout=0.5)
        return errors

    def _drive(self, run_id: str, options: DriveOptions, cancellation: Cancellation) -> RunState:
        record = self._application.journal.read(f"run/{run_id}")[0]
        created = decode(record)
        if not isinstance(created, RunCreated):
            raise AkashicError(
                f"run {run_id} does not begin with its creation", hint="akashic journal verify"
            )
        presenter = self._presenter(created)
        gates = self._gates(created)
        observers: list[RunObserver] = [presenter, gates]
        try:
            return drive(self._application, created, options, observers, cancellation)
        finally:
            gates.close()
            presenter.close()

    def _gates(self, created: RunCreated) -> Gates:
        return Gates(self._application, created, self, self._context, approves=self._approves)

    def _presenter(self, created: RunCreated) -> JsonPresenter | PlainPresenter | LivePresenter:
        if self._context.json:
            return JsonPresenter(self._context.stdout, created.run_id)
        if self.screen is not None:
            from akashic.cli.present.live import LivePresenter

            return LivePresenter(self.screen)
        prefix = f"#{created.sequence} " if self._several else ""
        return PlainPresenter(self._context.stdout, show_logs=self._show_logs, prefix=prefix)

    def say(self, text: str) -> None:
        """Write a line above the live view, or to standard error."""
        if self.screen is not None:
            self.screen.above(text)
        else:
            self._context.stderr.write(text + "\n")

    def _offer_resumption(self, state: RunState) -> None:
        from akashic.app.history import resumable  # only a run that failed pays for it

        if resumable(self._application, state):
            number = state.created.sequence
            line = f"to go on at the step that failed, in its workspace: akashic resume {number}"
            self._context.stdout.write(self._style("dim", line) + "\n")

    def print_summaries(self) -> None:
        """Why runs failed, what they found, and the verdicts."""
        now = self._application.clock.now()
        out = self._context.stdout
        for state in self.states:
            view = view_of(state, now)
            if not self._show_logs:
                for line in failure_lines(view, self._application.logs, self._style):
                    out.write(line + "\n")
            for line in summary_lines(view, self._style, failures_told=not self._show_logs):
                out.write(line + "\n")
            out.write(verdict(view, self._style) + "\n")
            if state.conclusion == "failure":
                self._offer_resumption(state)
        out.flush()
