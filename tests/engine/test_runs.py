"""Whole runs through the pure engine: each case is a workflow, what its jobs do, and how it ends."""

from __future__ import annotations

import pytest

from akashic.engine.events import GateReviewed, JobFilter, RunEvent, RunResumed
from akashic.engine.gates import needs_nothing
from akashic.engine.rerun import all_jobs, failed_jobs
from akashic.engine.runstate import RunState
from akashic.engine.view import view_of
from akashic.testing.jobs import Rules, Script
from tests.engine.scenario import Scenario, cancel, refolded

FAILS = Script(conclusion="failure")
STAYS = Script(until_cancelled=True)


def workflow(jobs: str, head: str = "on: push") -> str:
    """A workflow of jobs in short form: each line is `id: keys` in flow style; steps are added."""
    lines = [head, "jobs:"]
    for line in jobs.strip().splitlines():
        name, _, keys = line.strip().partition(":")
        keys = keys.strip()
        body = "" if "uses:" in keys else "runs-on: x, steps: [{run: echo}]"
        lines.append(f"  {name}: {{{', '.join(part for part in (keys, body) if part)}}}")
    return "\n".join(lines) + "\n"


CASES = {
    "needs in order": ("a: \nb: needs: a", {}, {"a": "success", "b": "success"}, "success"),
    "a failure skips what needs it, all the way down": (
        "a: \nb: needs: a\nc: needs: b",
        {"a": FAILS},
        {"a": "failure", "b": "skipped", "c": "skipped"},
        "failure",
    ),
    "always runs after a failure": (
        'a: \nb: needs: a, if: "always()"',
        {"a": FAILS},
        {"a": "failure", "b": "success"},
        "failure",
    ),
    "success() asks all ancestors, not only direct needs": (
        'a: \nb: needs: a, if: "always()"\nc: needs: b',
        {"a": FAILS},
        {"a": "failure", "b": "success", "c": "skipped"},
        "failure",
    ),
    "failure() sees an ancestor that failed": (
        'a: \nb: needs: a\nc: needs: b, if: "failure()"',
        {"a": FAILS},
        {"a": "failure", "b": "skipped", "c": "success"},
        "failure",
    ),
    "failure() is false when all is well": (
        'a: \nc: needs: a, if: "failure()"',
        {},
        {"a": "success", "c": "skipped"},
        "success",
    ),
    "a false if skips, and what needs it is skipped": (
        "a: if: false\nb: needs: a",
        {},
        {"a": "skipped", "b": "skipped"},
        "skipped",
    ),
    "an explicit status function looks over a skipped need": (
        'a: if: false\nb: needs: a, if: "!failure() && !cancelled()"',
        {},
        {"a": "skipped", "b": "success"},
        "success",
    ),
    "continue-on-error of a job lets the run pass": (
        "a: continue-on-error: true\nb: needs: a",
        {"a": FAILS},
        {"a": "success", "b": "success"},
        "success",
    ),
    "a timed-out job fails the run and reads as cancelled": (
        "a: \nb: needs: a, if: \"always() && needs.a.result == 'cancelled'\"",
        {"a": Script(conclusion="timed_out")},
        {"a": "timed_out", "b": "success"},
        "failure",
    ),
    "a wrong expression refuses the job and not the run": (
        "a: if: \"fromJSON('{')\"\nb: ",
        {},
        {"a": "failure", "b": "success"},
        "failure",
    ),
    "continue-on-error of text refuses the job": (
        "a: continue-on-error: \"${{ 'true' }}\"",
        {},
        {"a": "failure"},
        "failure",
    ),
    "continue-on-error of a key that the matrix lacks refuses the job": (
        'a: continue-on-error: "${{ matrix.beta }}", strategy: {matrix: {i: [0]}}',
        {},
        {"a": "failure"},
        "failure",
    ),
    "timeout-minutes of text refuses the job": (
        "a: timeout-minutes: \"${{ '5' }}\"",
        {},
        {"a": "failure"},
        "failure",
    ),
    "fail-fast of text refuses the job": (
        "a: strategy: {fail-fast: \"${{ 'false' }}\", matrix: {i: [0]}}",
        {},
        {"a": "failure"},
        "failure",
    ),
    "an empty matrix refuses the job": (
        "a: strategy: {matrix: \"${{ fromJSON('{}') }}\"}",
        {},
        {"a": "failure"},
        "failure",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_case(name: str) -> None:
    jobs, scripts, results, conclusion = CASES[name]
    scenario = Scenario(workflow=workflow(jobs), jobs=scripts)
    state = scenario.run()
    assert scenario.results() == results
    assert state.conclusion == conclusion
    assert refolded(scenario) == state


def test_outputs_reach_the_jobs_that_need_them() -> None:
    text = workflow("a: outputs: {v: x}\nb: needs: a, if: \"needs.a.outputs.v == '7'\"")
    scenario = Scenario(workflow=text, jobs={"a": Script(outputs={"v": "7"})})
    scenario.run()
    assert scenario.request("b").needs == {"a": {"result": "success", "outputs": {"v": "7"}}}


def test_a_matrix_from_an_output_names_and_numbers_its_instances() -> None:
    text = workflow('a: \nb: needs: a, strategy: {matrix: "${{ fromJSON(needs.a.outputs.m) }}"}')
    scenario = Scenario(workflow=text, jobs={"a": Script(outputs={"m": '{"os": ["x", "y"]}'})})
    scenario.run()
    assert scenario.order() == ["a", "b(0)", "b(1)"]
    request = scenario.request("b(1)")
    assert request.name == "b (y)" and request.matrix == {"os": "y"}
    assert request.strategy == {"fail-fast": True, "job-index": 1, "job-total": 2, "max-parallel": 2}


def test_the_last_output_of_a_matrix_that_is_not_empty_stays() -> None:
    text = workflow("a: outputs: {v: x}, strategy: {matrix: {i: [0, 1, 2]}}\nb: needs: a")
    outputs = [{"v": "first"}, {"v": "second"}, {"v": ""}]
    scenario = Scenario(
        workflow=text, jobs={f"a({index})": Script(outputs=found) for index, found in enumerate(outputs)}
    )
    scenario.run()
    assert scenario.request("b").needs["a"]["outputs"] == {"v": "second"}


def test_fail_fast_ends_the_other_instances() -> None:
    text = workflow("a: strategy: {max-parallel: 2, matrix: {i: [0, 1, 2]}}")
    scenario = Scenario(workflow=text, jobs={"a(0)": FAILS, "a(1)": STAYS})
    scenario.run()
    assert scenario.instance_results() == {"a(0)": "failure", "a(1)": "cancelled", "a(2)": "cancelled"}
    assert scenario.results() == {"a": "failure"}


def test_without_fail_fast_all_instances_run() -> None:
    text = workflow("a: strategy: {fail-fast: false, matrix: {i: [0, 1, 2]}}")
    scenario = Scenario(workflow=text, jobs={"a(0)": FAILS})
    scenario.run()
    assert list(scenario.instance_results().values()) == ["failure", "success", "success"]


def test_a_tolerated_instance_does_not_fail_fast() -> None:
    text = workflow('a: continue-on-error: "${{ matrix.i == 0 }}", strategy: {matrix: {i: [0, 1]}}')
    scenario = Scenario(workflow=text, jobs={"a(0)": FAILS})
    assert scenario.run().conclusion == "success"
    assert scenario.instance_results() == {"a(0)": "failure", "a(1)": "success"}


@pytest.mark.parametrize(("key", "places"), [("max-parallel: 2, ", 0), ("", 2)])
def test_never_more_at_once_than_allowed(key: str, places: int) -> None:
    text = workflow(f"a: strategy: {{{key}matrix: {{i: [0, 1, 2, 3, 4, 5]}}}}")
    most = 0

    def watch(scenario: Scenario, state: RunState) -> list[RunEvent]:
        nonlocal most
        most = max(most, len(state.running))
        return []

    Scenario(workflow=text, places=places, act=watch).run()
    assert most == 2


def test_cancelling_ends_what_runs_and_skips_the_rest_but_always_still_runs() -> None:
    text = workflow('a: \nb: needs: a\nc: needs: a, if: "always()"\nd: needs: a, if: "cancelled()"')
    asked = []

    def act(scenario: Scenario, state: RunState) -> list[RunEvent]:
        if state.running and not asked:
            asked.append(True)
            return [cancel()]
        return []

    scenario = Scenario(workflow=text, jobs={"a": STAYS}, act=act)
    assert scenario.run().conclusion == "cancelled"
    assert scenario.results() == {"a": "cancelled", "b": "skipped", "c": "success", "d": "success"}
    assert refolded(scenario) == scenario.state


def test_a_forced_cancel_spares_nothing() -> None:
    text = workflow('a: if: "always()"\nb: needs: a, if: "always()"')

    def act(scenario: Scenario, state: RunState) -> list[RunEvent]:
        return [cancel(force=True)] if state.running and not state.cancelled else []

    scenario = Scenario(workflow=text, jobs={"a": STAYS}, act=act)
    scenario.run()
    assert scenario.results() == {"a": "cancelled", "b": "skipped"}


def test_needs_in_a_circle_do_not_hang() -> None:
    scenario = Scenario(workflow=workflow("a: needs: b\nb: needs: a"))
    assert scenario.run().conclusion == "failure"


def test_a_workflow_that_cannot_be_read_ends_the_run_with_the_reason() -> None:
    scenario = Scenario(workflow="on: push\njobs: [")
    state = scenario.run()
    assert state.conclusion == "failure" and ".github/workflows/ci.yml" in state.broken


def test_only_the_wanted_jobs_and_what_they_need_run() -> None:
    text = workflow("a: \nb: needs: a, strategy: {matrix: {v: [1, 2]}}\nc: ")
    scenario = Scenario(workflow=text, only=JobFilter(jobs=("b",), matrix={"v": ("2",)}))
    scenario.run()
    assert scenario.order() == ["a", "b(1)"]


# -- gates


def review(
    scenario: Scenario, state: RunState, by: str, *, approved: bool = True, key: str = "a"
) -> GateReviewed:
    gate = state.instances[key].gate
    assert gate is not None
    return GateReviewed(key=key, by=by, approved=approved, binding=gate.binding)


GATED = workflow("a: environment: production")


def reviewed_by(*names: str, approved: bool = True):  # type: ignore[no-untyped-def]
    """Reviews, one at each decision that waits for the gate, then a cancel."""
    left = list(names)

    def act(scenario: Scenario, state: RunState) -> list[RunEvent]:
        instance = state.instances.get("a")
        if instance is None or instance.gate is None or instance.status != "pending" or instance.gate.passed:
            return []
        if needs_nothing(instance.gate):
            return []
        if left:
            return [review(scenario, state, left.pop(0), approved=approved)]
        return [] if state.cancelled else [cancel("nobody approves")]

    return act


@pytest.mark.parametrize(
    ("rules", "names", "runs"),
    [
        (Rules(), (), True),
        (Rules(approvals_needed=1), ("ann",), True),
        (Rules(approvals_needed=2), ("ann", "ANN"), False),
        (Rules(approvals_needed=2), ("ann", "bob"), True),
        (Rules(approvals_needed=1, reviewers=("bob",)), ("ann",), False),
        (Rules(approvals_needed=1, reviewers=("Bob",)), ("bob",), True),
        (Rules(approvals_needed=1, self_review=False), ("author",), False),
        (Rules(approvals_needed=1, self_review=True), ("author",), True),
    ],
)
def test_approvals_count_as_the_rules_say(rules: Rules, names: tuple[str, ...], runs: bool) -> None:
    scenario = Scenario(workflow=GATED, rules={"production": rules}, act=reviewed_by(*names))
    scenario.run()
    assert scenario.results() == {"a": "success" if runs else "cancelled"}
    assert refolded(scenario) == scenario.state


def test_a_rejection_fails_the_job() -> None:
    rules = {"production": Rules(approvals_needed=1)}
    scenario = Scenario(workflow=GATED, rules=rules, act=reviewed_by("ann", approved=False))
    scenario.run()
    assert scenario.results() == {"a": "failure"}
    assert scenario.state.instances["a"].reason == "rejected by ann"


def test_what_changes_after_an_approval_asks_again() -> None:
    rules = Rules(approvals_needed=1, artifact_digest="sha256:one")
    asked: list[str] = []

    def act(scenario: Scenario, state: RunState) -> list[RunEvent]:
        instance = state.instances.get("a")
        if instance is None or instance.gate is None or instance.status != "pending" or instance.gate.passed:
            return []
        asked.append(instance.gate.binding.artifact_digest)
        event = review(scenario, state, "ann")
        rules.artifact_digest = "sha256:two"
        return [event]

    scenario = Scenario(workflow=GATED, rules={"production": rules}, act=act)
    scenario.run()
    assert asked == ["sha256:one", "sha256:two"]
    binding = scenario.request("a").binding
    assert binding is not None and binding.artifact_digest == "sha256:two"


def test_a_wait_timer_holds_the_job_back() -> None:
    scenario = Scenario(workflow=GATED, rules={"production": Rules(wait_s=600.0)})
    began = scenario.now
    scenario.run()
    assert scenario.now >= began + 600 and scenario.results() == {"a": "success"}


def test_an_environment_that_refuses_fails_the_job() -> None:
    scenario = Scenario(workflow=GATED, rules={"production": Rules(refusal="only main may")})
    scenario.run()
    assert scenario.state.instances["a"].reason == "only main may" and scenario.order() == []


# -- calls

CALLED = """
on:
  workflow_call:
    inputs:
      level: {type: number, default: 3}
      name: {type: string, required: true}
    outputs:
      result: {value: "${{ jobs.inner.outputs.v }}-${{ inputs.name }}"}
jobs:
  inner:
    runs-on: x
    outputs: {v: x}
    steps: [{run: echo}]
  after:
    needs: inner
    if: inputs.level > 2
    runs-on: x
    steps: [{run: echo}]
"""
CALL = "./.github/workflows/called.yml"


def test_a_call_runs_its_jobs_and_gives_outputs() -> None:
    text = workflow(f"a: uses: {CALL}, with: {{name: n}}\nb: needs: a")
    scenario = Scenario(workflow=text, calls={CALL: CALLED}, jobs={"a/inner": Script(outputs={"v": "made"})})
    assert scenario.run().conclusion == "success"
    assert scenario.order() == ["a/inner", "a/after", "b"]
    assert scenario.request("a/inner").inputs == {"level": 3, "name": "n"}
    assert scenario.request("a/inner").name == "a / inner"
    assert scenario.request("b").needs == {"a": {"result": "success", "outputs": {"result": "made-n"}}}
    assert refolded(scenario) == scenario.state
    assert [job.depth for job in view_of(scenario.state, 0.0).jobs] == [0, 1, 1, 0]


def test_a_matrix_of_calls() -> None:
    text = workflow(
        f'a: uses: {CALL}, strategy: {{matrix: {{n: [x, y]}}}}, with: {{name: "${{{{ matrix.n }}}}"}}'
    )
    scenario = Scenario(workflow=text, calls={CALL: CALLED})
    scenario.run()
    assert sorted(scenario.order()) == ["a(0)/after", "a(0)/inner", "a(1)/after", "a(1)/inner"]
    assert scenario.request("a(1)/inner").inputs["name"] == "y"


def test_a_failure_inside_a_call_fails_the_call() -> None:
    text = workflow(f"a: uses: {CALL}, with: {{name: n}}\nb: needs: a")
    scenario = Scenario(workflow=text, calls={CALL: CALLED}, jobs={"a/inner": FAILS})
    scenario.run()
    assert scenario.results() == {"a": "failure", "b": "skipped", "a/inner": "failure", "a/after": "skipped"}


@pytest.mark.parametrize(
    ("with_", "message"),
    [
        ("{}", "the input `name` of ./.github/workflows/called.yml is required"),
        ("{name: n, other: 1}", "has no input `other`; it has `level`, `name`"),
        ("{name: n, level: many}", "the input `level` must be a number, got 'many'"),
    ],
)
def test_wrong_inputs_are_refused(with_: str, message: str) -> None:
    text = workflow(f"a: uses: {CALL}, with: {with_}")
    scenario = Scenario(workflow=text, calls={CALL: CALLED})
    scenario.run()
    assert scenario.results() == {"a": "failure"} and message in scenario.state.instances["a"].reason


def test_a_workflow_that_calls_itself_ends() -> None:
    again = f"on: workflow_call\njobs:\n  a:\n    uses: {CALL}\n"
    scenario = Scenario(workflow=workflow(f"a: uses: {CALL}"), calls={CALL: again})
    assert scenario.run().conclusion == "failure"
    assert any("levels deep" in instance.reason for instance in scenario.state.instances.values())


# -- concurrency and running again


def test_a_group_is_acquired_before_and_released_after() -> None:
    text = workflow("a: concurrency: prod", "on: push\nconcurrency: all")
    scenario = Scenario(workflow=text)
    scenario.run()
    kinds = [type(event).__name__ for event, _ in scenario.history]
    acquired = [index for index, kind in enumerate(kinds) if kind == "ConcurrencyAcquired"]
    released = [index for index, kind in enumerate(kinds) if kind == "ConcurrencyReleased"]
    assert acquired[0] < kinds.index("JobExpanded") < acquired[1] < kinds.index("JobStarted")
    assert kinds.index("JobFinished") < released[0] < released[1] < kinds.index("RunFinished")


def test_a_job_that_wants_the_runs_own_group_is_a_deadlock_and_refused() -> None:
    scenario = Scenario(workflow=workflow("a: concurrency: Prod", "on: push\nconcurrency: prod"))
    assert scenario.run().conclusion == "failure"
    assert "held by the run" in scenario.state.instances["a"].reason


def test_running_failed_jobs_again_keeps_the_rest_and_never_starts_an_attempt_twice() -> None:
    text = workflow(
        "a: outputs: {v: x}\nb: needs: a, strategy: {fail-fast: false, matrix: {i: [0, 1]}}\nc: needs: b"
    )
    scenario = Scenario(workflow=text, jobs={"a": Script(outputs={"v": "1"}), "b(1)": FAILS})
    state = scenario.run()
    assert failed_jobs(state) == ("b(1)",)
    scenario.jobs = {}
    scenario.state = scenario.append(state, RunResumed(by="me", jobs=failed_jobs(state)))
    assert scenario.play().conclusion == "success"
    assert scenario.order() == ["a", "b(0)", "b(1)", "b(1)", "c"]
    assert [request.attempt for request in scenario.started] == [1, 1, 1, 2, 1]
    assert scenario.request("b(1)").needs["a"]["outputs"] == {"v": "1"}
    assert refolded(scenario) == scenario.state


def test_running_all_jobs_again() -> None:
    text = workflow(f"a: uses: {CALL}, with: {{name: n}}\nb: needs: a")
    scenario = Scenario(workflow=text, calls={CALL: CALLED})
    state = scenario.run()
    scenario.state = scenario.append(state, RunResumed(by="me", jobs=all_jobs(state)))
    assert scenario.play().conclusion == "success" and scenario.state.attempt == 2
    assert [request.attempt for request in scenario.started] == [1, 1, 1, 2, 2, 2]


def test_running_a_failed_job_inside_a_call_again() -> None:
    text = workflow(f"a: uses: {CALL}, with: {{name: n}}\nb: needs: a")
    scenario = Scenario(workflow=text, calls={CALL: CALLED}, jobs={"a/after": FAILS})
    state = scenario.run()
    assert failed_jobs(state) == ("a/after",)
    scenario.jobs = {}
    scenario.state = scenario.append(state, RunResumed(by="me", jobs=failed_jobs(state)))
    assert scenario.play().conclusion == "success"
    assert scenario.order() == ["a/inner", "a/after", "a/after", "b"]


def test_ten_thousand_jobs_need_decisions_in_proportion() -> None:
    names = "\n".join(
        f"j{number}: {'' if number % 100 == 0 else f'needs: j{number - 1}'}" for number in range(3000)
    )
    scenario = Scenario(workflow=workflow(names), places=8)
    assert scenario.run().conclusion == "success"
    assert scenario.decisions <= 2 * 3000 + 2


def test_a_run_name_is_evaluated_once_and_shown() -> None:
    text = "name: ci\nrun-name: Deploy to ${{ inputs.target }}\n  by ${{ github.actor }}\n"
    text += "on: workflow_dispatch\n"
    text += "jobs: {a: {runs-on: x, steps: [{run: a}]}}\n"
    state = Scenario(workflow=text, inputs={"target": "prod"}).run()
    assert view_of(state, 0.0).run_name == "Deploy to prod by octocat"


def test_a_run_name_that_cannot_be_evaluated_fails_the_run() -> None:
    text = "run-name: ${{ fromJSON('{') }}\non: push\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n"
    state = Scenario(workflow=text).run()
    assert state.conclusion == "failure" and "fromJSON" in state.broken


def test_the_time_after_a_cancellation_is_the_jobs_own() -> None:
    text = "on: push\njobs:\n  a: {runs-on: x, steps: [{run: a}]}\n"
    text += "  b: {runs-on: x, cancel-timeout-minutes: 1.5, steps: [{run: a}]}\n"
    scenario = Scenario(workflow=text)
    scenario.run()
    assert {request.key: request.cancel_timeout_s for request in scenario.started} == {"a": 300.0, "b": 90.0}
