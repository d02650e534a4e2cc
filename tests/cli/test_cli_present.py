"""What runs look like: plain lines, JSON lines, the live picture, plans; and that no text passes for ours."""

from __future__ import annotations

import io
import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from akashic.app.application import Application
from akashic.app.foresight import foresee_all
from akashic.app.history import load_state
from akashic.app.runs import create
from akashic.app.selection import Request, no_remote, select
from akashic.cancellation import Cancellation
from akashic.cli.present.graph import plan_json, plan_lines, plan_mermaid
from akashic.cli.present.json_lines import JsonPresenter
from akashic.cli.present.live import LivePresenter, Screen, _columns, _cut
from akashic.cli.present.plain import PlainPresenter
from akashic.cli.present.style import Style, duration, table
from akashic.cli.present.summary import summary_lines
from akashic.cli.present.svg import plan_svg
from akashic.cli.present.texts import label, log_text, shown_log, verdict
from akashic.driver.locks import FileRunLocks
from akashic.driver.observer import RunObserver
from akashic.driver.runs import RunDriver
from akashic.engine.requests import Annotation, StepReport
from akashic.engine.runstate import RunState
from akashic.engine.view import view_of
from akashic.testing.clock import ManualClock
from akashic.testing.jobs import RuledGates, Script, ScriptedJobs
from tests.cli.cli_process import Cli, steps

GOLDEN = Path(__file__).parent / "golden"
FLOW = """
name: ci
on: push
jobs:
  build: {runs-on: x, steps: [{run: echo}]}
  test:
    needs: build
    runs-on: x
    strategy: {matrix: {os: [linux, mac]}}
    steps: [{run: echo}]
  deploy: {needs: [build, test], environment: production, runs-on: x, steps: [{run: echo}]}
  notes: {needs: test, if: "github.ref == 'refs/tags/v1'", runs-on: x, steps: [{run: echo}]}
"""
SCRIPTS = {"build": Script(steps=2), "test(1)": Script(conclusion="failure", reason="step 1 failed")}


def application_of(cli: Cli, text: str = FLOW) -> Application:
    cli.workflow(text)
    cli.commit()
    application = Application.open(cli.path, {"HOME": "/nonexistent", "PATH": os.environ["PATH"]})
    application.clock = ManualClock(step_s=0.25)
    return application


def conduct(
    application: Application,
    observer: Callable[[str], RunObserver],
    scripts: Mapping[str, Script] = SCRIPTS,
) -> RunState:
    """A scripted run, watched."""
    selection = select(application, Request(), cwd=application.root, remote=no_remote)
    run_id = create(application, Request(), selection, selection.triggered[0])
    driver = RunDriver(
        journal=application.journal,
        job_port=ScriptedJobs(scripts),
        gate_port=RuledGates(),
        clock=application.clock,
        locks=FileRunLocks(application.state_dir / "locks"),
        observers=[observer(run_id)],
        jobs_max=1,
    )
    state = driver.drive(run_id, Cancellation())
    assert driver.observer_errors == []
    return state


def agree(name: str, found: str, commit: str = "") -> None:
    if commit:
        found = found.replace(commit[:7], "COMMIT")
    path = GOLDEN / name
    if os.environ.get("AKASHIC_WRITE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    hint = f"{name} differs: look at it, then write it anew with AKASHIC_WRITE_GOLDEN=1"
    assert found == path.read_text(encoding="utf-8"), hint


def test_plain_lines(cli: Cli) -> None:
    application = application_of(cli)
    out = io.StringIO()
    presenter = PlainPresenter(out, show_logs=True, prefix="#1 ")
    state = conduct(application, lambda _: presenter)
    presenter.job_ready("build", ("port 5432 is taken: 5433 instead",))
    presenter.lines("build", 1, "##[group]a group\ninside\n##[endgroup]\n##[error]bad\n")
    out.write(verdict(view_of(state, application.clock.now()), Style(False)) + "\n")
    lines = [line.partition(" (")[0] if "✓ step" in line else line for line in out.getvalue().splitlines()]
    text = "\n".join(line.partition(" in ")[0] for line in lines) + "\n"
    agree("plain.txt", text, application.commit)


CALLS = """
on: push
jobs:
  typed: {strategy: {matrix: {k: [a, b]}}, uses: ./.github/workflows/called.yml, with: {k: "${{ matrix.k }}"}}
"""
CALLED = """
on: {workflow_call: {inputs: {k: {type: string}}}}
jobs:
  two: {if: inputs.k == 'a', runs-on: x, steps: [{run: echo}]}
  odd: {needs: two, runs-on: x, continue-on-error: "${{ inputs.k }}", steps: [{run: echo}]}
"""


def test_what_did_not_run_is_named_as_what_did(cli: Cli) -> None:
    cli.write(".github/workflows/called.yml", CALLED)
    out = io.StringIO()
    conduct(application_of(cli, CALLS), lambda _: PlainPresenter(out, show_logs=True))
    shown = out.getvalue()
    assert "[typed (a)/two] started" in shown and "[typed (b)/two] – skipped: its `if` is false" in shown
    assert "[typed (a)/odd(0)] ✗ cannot run: " in shown or "[typed (a)/odd] ✗ cannot run: " in shown


def test_a_cell_that_never_began_is_named_as_the_others(cli: Cli) -> None:
    job = "{runs-on: x, strategy: {max-parallel: 1, matrix: {i: [7, 8]}}, steps: [{run: x}]}"
    text = f"on: push\njobs: {{a: {job}}}"
    application = application_of(cli, text)
    out = io.StringIO()
    scripts = {"a(0)": Script(conclusion="failure", reason="no")}
    conduct(application, lambda _: PlainPresenter(out, show_logs=True), scripts)
    assert "[a (7)] ✗ failure" in out.getvalue() and "[a (8)] ⊘ cancelled" in out.getvalue()


def test_a_cell_is_named_by_what_its_values_hold(cli: Cli) -> None:
    values = "{v: [[1, 2], {a: [3]}, null], w: [x], include: [{w: x, extra: 1}]}"
    job = f"{{runs-on: x, strategy: {{matrix: {values}}}, steps: [{{run: x}}]}}"
    named = job.replace("{runs-on", '{name: "N ${{ matrix.w }}", runs-on')
    application = application_of(cli, f"on: push\njobs: {{a: {job}, b: {named}}}")
    out = io.StringIO()
    conduct(application, lambda _: PlainPresenter(out, show_logs=True), {})
    begun = {line for line in out.getvalue().splitlines() if line.endswith(" started")}
    assert {"[a (1, 2, x)] started", "[a (3, x)] started", "[a (x)] started"} <= begun
    assert {"[b (1, 2, x, 1)] started", "[b (3, x, 1)] started", "[b (x, 1)] started"} <= begun


def test_json_lines_are_objects_with_the_run_s_id(cli: Cli) -> None:
    out = io.StringIO()
    state = conduct(application_of(cli), lambda run_id: JsonPresenter(out, run_id))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {event["run_id"] for event in events} == {state.run_id}
    assert events[0]["type"] == "RunCreated" and "sources" not in events[0]
    assert [event["type"] for event in events].count("JobFinished") == 4 - 1
    assert events[-1] | {"at": 0} == {
        "run_id": state.run_id, "at": 0, "type": "RunFinished", "conclusion": "failure", "outputs": {},
    }  # fmt: skip


def test_the_live_picture(cli: Cli) -> None:
    application = application_of(cli)
    out = io.StringIO()
    screen = Screen(out, Style(False))
    pictures: list[list[str]] = []

    class Watching(LivePresenter):
        def event(self, state: RunState, event: object, at: float) -> None:
            super().event(state, event, at)  # type: ignore[arg-type]
            pictures.append([line.partition("  ")[2] or line for line in self.picture(0)])

    presenter = Watching(screen)
    try:
        conduct(application, lambda _: presenter)
        presenter.close()
    finally:
        screen.close()
    assert pictures[0][0].startswith("run 1 · ci · push to main")
    last = [line.split("  ")[0] for line in pictures[-1][1:]]
    assert [line.split() for line in last] == [
        ["✓", "build"],
        ["✓", "test", "(linux)"],
        ["✗", "test", "(mac)"],
        ["–", "deploy"],
        ["–", "notes"],
    ]
    assert any("waits for build" in line for line in pictures[0])
    shown = out.getvalue()
    assert shown.startswith("\x1b[?25l") and shown.endswith("\x1b[?25h")
    assert "✗ test (mac)" in shown


def test_the_live_picture_fits_the_terminal() -> None:
    assert _cut("abcdef", 4) == "abc…\x1b[0m"
    assert _cut("\x1b[31mabc\x1b[0m", 10) == "\x1b[31mabc\x1b[0m"
    assert _columns("日本") == 4 and _columns("e\u0301") == 1
    assert _columns(_cut("日本語", 5).removesuffix("\x1b[0m")) <= 5


HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b[31mred\n[deploy] ✓ success\r\u202egpj"


def test_a_name_cannot_pass_for_our_own_words() -> None:
    shown = label(HOSTILE)
    assert "\n" not in shown and "\x1b" not in shown and "\r" not in shown and "\u202e" not in shown
    assert "red" in shown


@pytest.mark.parametrize("color", [True, False])
def test_a_log_line_keeps_its_colours_to_itself(color: bool) -> None:
    shown = shown_log("\x1b[31mred\nplain \x1b[2J", color=color)
    first, second = shown.split("\n")
    assert first == ("\x1b[31mred\x1b[0m" if color else "red")
    assert second == "plain ␛[2J"
    assert log_text("##[endgroup]") is None
    assert log_text("##[error]\x1b[1mbad", color=color) == (
        "error: \x1b[1mbad\x1b[0m" if color else "error: bad"
    )


def test_terminal_escapes_of_a_workflow_are_shown_not_sent(cli: Cli) -> None:
    name = json.dumps(HOSTILE)
    cli.workflow(steps("exit 1", more=f"    name: {name}\n").replace("name: ci", f"name: {name}"))
    cli.commit()
    shown = [cli(*argv).stdout for argv in (("run", "-q"), ("run", "-l"), ("plan",), ("runs",))]
    shown += [cli("plan", "--format", form).stdout for form in ("mermaid", "svg", "json")]
    for text in shown:
        assert text
        for sign in ("\x1b", "\x07", "\r", "\u202e"):
            assert sign not in text, text
        assert "\n[deploy] ✓ success" not in text
    assert "\x1b" not in cli("logs").stdout


def plan_of(cli: Cli, text: str = FLOW) -> tuple[str, ...]:
    application = application_of(cli, text)
    cli.workflow("on: release\njobs:\n  out: {runs-on: x, steps: [{run: echo}]}\n", "release.yml")
    selection = select(application, Request(), cwd=application.root, remote=no_remote)
    request = Request()
    foresight = foresee_all(application, request, selection)
    lines = "\n".join(plan_lines(selection, request, color=False, foresight=foresight)) + "\n"
    return (
        lines,
        plan_json(selection, request, foresight=foresight),
        plan_mermaid(selection, request, foresight),
        plan_svg(selection, request, foresight),
    )


def test_plans_in_all_formats(cli: Cli) -> None:
    text, as_json, mermaid, svg = plan_of(cli)
    agree("plan.txt", text)
    agree("plan.json", as_json + "\n")
    agree("plan.mmd", mermaid)
    agree("plan.svg", svg)


def test_attack_37_a_drawing_is_well_formed_whatever_a_workflow_says(cli: Cli) -> None:
    name = json.dumps("</title><script>alert(1)</script> & \x1b \ufffe")
    text = FLOW.replace("name: ci", f"name: {name}").replace("refs/tags/v1", "<b>&amp;")
    svg = plan_of(cli, text)[3]
    root = ElementTree.fromstring(svg)
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert kinds <= {"svg", "title", "style", "rect", "text", "marker", "path", "g"}
    assert "prefers-color-scheme: dark" in svg and "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_plan_as_a_command(cli: Cli) -> None:
    cli.workflow(FLOW)
    cli.commit()
    for form, begin in (("text", "ci  ("), ("json", "{"), ("mermaid", "flowchart LR"), ("svg", "<svg ")):
        result = cli("plan", "--format", form)
        assert (result.returncode, result.stdout.startswith(begin)) == (0, True), result.stderr
    (line,) = cli.json("plan", "-j", "test")
    assert line["runs"][0]["stages"] == [["build"], ["test"]]
    assert "nothing would run on release" in cli("plan", "release").stdout


def test_logs_can_be_followed(cli: Cli) -> None:
    cli.workflow(steps("for i in 1 2 3; do echo line $i; sleep 0.3; done"))
    cli.commit()
    running = cli.start("run", "-q")
    assert running.stdout is not None
    for line in running.stdout:
        if "started" in line:
            break
    followed = cli("logs", "--follow")
    assert followed.returncode == 0
    assert [line for line in followed.stdout.splitlines() if line.startswith("[build] line")] == [
        "[build] line 1",
        "[build] line 2",
        "[build] line 3",
    ]
    running.communicate(timeout=30)
    assert "hint: its jobs: build" in cli("logs", "1", "nonsense").stderr
    stamped = cli("logs", "1", "build", "--timestamps").stdout
    assert any(line[2] == ":" and line.endswith("line 1") for line in stamped.splitlines() if len(line) > 2)
    assert {"key", "step", "at", "text"} == set(cli.json("logs")[0])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59.6, "1 m 00 s"),
        (185, "3 m 05 s"),
        (3720, "1 h 02 m"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tables_are_aligned() -> None:
    assert table([["a", "bb", "c"], ["aaa", "b", "cc"]]) == ["a    bb  c", "aaa  b   cc"]
    assert table([]) == []


def test_a_state_can_be_shown_at_any_moment(cli: Cli) -> None:
    application = application_of(cli)
    selection = select(application, Request(), cwd=application.root, remote=no_remote)
    run_id = create(application, Request(), selection, selection.triggered[0])
    view = view_of(load_state(application, run_id), application.clock.now())
    assert "interrupted" in verdict(view, Style(False))


def test_what_was_annotated_is_told_once_in_order_with_its_step(cli: Cli) -> None:
    application = application_of(cli, "on: push\njobs: {a: {runs-on: x, steps: [{run: echo}]}}")
    view = view_of(conduct(application, lambda _: PlainPresenter(io.StringIO(), show_logs=False)), 0.0)
    found = [Annotation(level="error", message=f"e{number}") for number in range(3)]
    found.append(Annotation(level="error", message="e3", file="b.c"))
    warned = Annotation(level="warning", message="w\nmore", file="a.c", line=3)
    step = StepReport(
        number=2,
        name="Run x" * 20,
        outcome="failure",
        conclusion="failure",
        started_at=0.0,
        duration_s=0.0,
        annotations=(warned, *found[:2]),
    )
    job = replace(view.jobs[0], steps=(step,), annotations=(warned, *found[:2], *found[2:]), reports=())
    lines = summary_lines(replace(view, jobs=(job,)), Style(color=False))
    where = f"{('Run x' * 20)[:59]}…"
    assert lines[1:] == [
        f"error: a › {where}: e0",
        f"error: a › {where}: e1",
        "error: a: e2",
        "error: a: b.c: e3",
        f"warning: a › {where}: a.c:3: w",
        "  more",
    ]
