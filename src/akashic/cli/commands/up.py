"""`akashic up`: take the current commit through its own workflows to production on this machine."""

from __future__ import annotations

import argparse
import threading

from akashic.app.application import Application
from akashic.app.driving import DriveOptions, action_cache
from akashic.app.history import abandoned_runs
from akashic.app.remote import remote_reader
from akashic.app.runs import create
from akashic.app.up import approve, choose, only_one
from akashic.cli.command import CommandContext
from akashic.cli.conduct import Conductor
from akashic.cli.present.delivered import delivered_lines
from akashic.driver.observer import SilentObserver
from akashic.engine.events import GateOpened, GateReopened, RunCreated, RunEvent
from akashic.engine.requests import GateBinding
from akashic.engine.runstate import RunState
from akashic.engine.view import view_of
from akashic.errors import EXIT_OK, AkashicError

HELP = "take the repository from its current commit to production on this machine"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--branch", default="", metavar="NAME", help="as a push to this branch (the current one)"
    )
    parser.add_argument("--approve", action="store_true", help="approve every gate in your own name")
    parser.add_argument("-v", "--verbose", action="store_true", help="print what the steps print")
    parser.add_argument(
        "--sandbox", choices=("auto", "strict", "off"), default="auto", help="isolation of jobs"
    )


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    with only_one(application):
        _clean_up(application, context)
        remote = remote_reader(action_cache(application), {}, offline=False)
        request, selection = choose(application, args.branch, remote)
        if not context.json:
            _introduce(application, args.approve, context)
        conductor = Conductor(
            application,
            context,
            show_logs=args.verbose,
            watch=lambda created: _Gates(application, created, args.approve, conductor, context),
            summary=False,
        )
        runs = [create(application, request, selection, item) for item in selection.triggered]
        code = conductor.conduct(runs, DriveOptions(sandbox=args.sandbox))
        application.notifier.flush()
        if context.json:
            return code
        if code != EXIT_OK:
            conductor.print_summaries()
        now = application.clock.now()
        views = [view_of(state, now) for state in conductor.states]
        lines = delivered_lines(
            application,
            views,
            color=context.color,
            jobs=conductor.screen is None,
            told=code != EXIT_OK,
        )
        context.stdout.write("\n".join(lines) + "\n")
        return code


def _clean_up(application: Application, context: CommandContext) -> None:
    """First what a killed process left: deployments are ended, runs are named."""
    for line in application.recover():
        context.stderr.write(line + "\n")
    abandoned = abandoned_runs(application)
    if abandoned:
        context.stderr.write(
            f"{len(abandoned)} earlier run(s) were interrupted; `akashic resume` takes them on\n"
        )


def _introduce(application: Application, approves: bool, context: CommandContext) -> None:
    repository = application.repository
    out = context.stdout
    title = repository.message.split("\n", 1)[0]
    out.write(f"delivering {repository.name} at {repository.commit[:7]} ({title})\n")
    if repository.dirty:
        out.write("note: uncommitted changes are not delivered; commit them first to include them\n")
    if approves:
        out.write(f"note: --approve is given, so gates are approved by {application.user}, on the record\n")
    out.write("\n")
    out.flush()


class _Gates(SilentObserver):
    """Answers the gates of a run: approves when that was asked for, asks at a terminal, else says how to."""

    def __init__(
        self,
        application: Application,
        created: RunCreated,
        approves: bool,
        conductor: Conductor,
        context: CommandContext,
    ) -> None:
        self._application = application
        self._created = created
        self._approves = approves
        self._conductor = conductor
        self._context = context
        self._opened: dict[str, GateOpened] = {}

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        if isinstance(event, GateOpened) and event.approvals_needed:
            self._opened[event.key] = event
            self._answer(event, event.binding)
        elif isinstance(event, GateReopened) and event.key in self._opened:
            self._answer(self._opened[event.key], event.binding)

    def _answer(self, gate: GateOpened, binding: GateBinding) -> None:
        # In a thread of its own: the driver waits for this call, and the answer is an event of the same run.
        threading.Thread(target=self._decide, args=(gate, binding), daemon=True).start()

    def _decide(self, gate: GateOpened, binding: GateBinding) -> None:
        if self._approves:
            self._approve(gate, binding, "akashic up --approve")
        elif self._context.interactive:
            if self._ask(gate, binding):
                self._approve(gate, binding, "at the terminal")
        else:
            self._conductor.say(f"waiting for: akashic approve {self._created.sequence}")

    def _approve(self, gate: GateOpened, binding: GateBinding, comment: str) -> None:
        try:
            approve(self._application, self._created.run_id, gate, binding, comment)
        except AkashicError as error:
            self._conductor.say(error.message)
            self._conductor.say(f"waiting for: akashic approve {self._created.sequence}")

    def _ask(self, gate: GateOpened, binding: GateBinding) -> bool:
        digest = binding.artifact_digest.removeprefix("sha256:")[:12] or "none"
        question = f"approve {gate.environment}: commit {binding.commit[:7]}, artifact {digest}? [y/N] "
        screen = self._conductor.screen
        if screen is not None:
            screen.pause()
        try:
            answer = input(question).strip().lower()
        except EOFError:
            answer = ""
        finally:
            if screen is not None:
                screen.resume()
        if answer not in ("y", "yes"):
            self._conductor.say(f"not approved; later: akashic approve {self._created.sequence}")
            return False
        return True
