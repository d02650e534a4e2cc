"""The bench measures what it says: workloads are valid, checks find missing work, tables read well."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

from akashic.workflow.parse import parse_workflow  # noqa: E402
from bench import process, report, workloads  # noqa: E402


@pytest.mark.parametrize("make", workloads.ALL)
def test_every_workload_is_a_workflow_that_a_push_triggers(make) -> None:
    workflow = parse_workflow(make().workflow, "measured.yml")
    assert [trigger.event for trigger in workflow.triggers] == ["push"]


def test_the_workloads_are_as_large_as_they_say() -> None:
    jobs = parse_workflow(workloads.outputs().workflow, "x.yml").jobs
    assert (len(jobs), sum(len(job.steps) for job in jobs.values())) == (5, 14)
    (long,) = parse_workflow(workloads.many_steps().workflow, "x.yml").jobs.values()
    assert len(long.steps) == 200


def test_work_that_was_not_done_is_found(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text("[job] | the first is done\n")
    assert workloads.check(workloads.two_steps(), output) == [
        "'| the second is done' stands in 0 lines, expected 1"
    ]


def test_a_secret_in_the_output_is_found_and_not_repeated(tmp_path: Path) -> None:
    secret = workloads.SECRETS["TOKEN_3"]
    output = tmp_path / "output"
    output.write_text(f"{secret}\n")
    wrong = workloads.check(workloads.log(), output)
    assert f"a secret of {len(secret)} characters was printed" in wrong
    assert all(secret not in line for line in wrong)


def test_a_command_that_fails_has_no_figure(tmp_path: Path) -> None:
    with pytest.raises(process.Failed, match="ended with 3"):
        process.run(
            ["sh", "-c", "exit 3"], cwd=tmp_path, environ={"PATH": "/usr/bin:/bin"}, output=tmp_path / "o"
        )


def test_a_command_runs_where_it_is_told_and_its_output_is_kept(tmp_path: Path) -> None:
    taken = process.run(["pwd"], cwd=tmp_path, environ={"PATH": "/usr/bin:/bin"}, output=tmp_path / "o")
    assert taken.output.read_text().strip() == str(tmp_path)
    assert taken.wall_s > 0 and taken.memory_mb > 0


def test_the_table_says_what_is_over_its_budget() -> None:
    rows = [
        report.Row.ratio_of("fast", "s", {"act": 2.0, "akashic": 0.5}, 0.6),
        report.Row.ratio_of("slow", "s", {"act": 1.0, "akashic": 0.9}, 0.6),
        report.Row.alone("failed requests", "", 0, 0),
    ]
    lines = report.table(rows)
    assert "0.25" in lines[2] and lines[2].endswith("ok   |")
    assert "0.90" in lines[3] and lines[3].endswith("over |")
    assert lines[4].endswith("ok   |")
    assert len({len(line) for line in lines}) == 1


def test_a_rate_is_held_to_a_least_budget() -> None:
    slow = report.Row.alone("up", "MB/s", 399.0, 400, at_least=True)
    fast = report.Row.alone("up", "MB/s", 401.0, 400, at_least=True)
    assert (slow.ok, fast.ok) == (False, True)
    assert "≥ 400 MB/s" in report.table([fast])[-1]
