"""`akashic run` from end to end: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.cli_process import Cli, living, steps
from tests.waiting import eventually

_counter = itertools.count()


def marker() -> str:
    """A sleep that no other process of this machine sleeps."""
    return f"sleep 3{os.getpid()}{next(_counter):03d}"


def test_a_green_run_ends_with_zero(cli: Cli) -> None:
    cli.workflow(steps("echo hello from a step"))
    cli.commit()
    result = cli("run")
    assert result.returncode == 0, result.stderr
    assert "run 1 · ci · push to main" in result.stdout
    assert "[build]   | hello from a step" in result.stdout
    assert "✓ run 1 succeeded" in result.stdout.splitlines()[-1]
    assert result.stderr == ""


def test_a_failing_step_ends_with_one_and_shows_the_tail_of_its_log(cli: Cli) -> None:
    cli.workflow(steps("for i in $(seq 100); do echo line $i; done; exit 7", "echo never"))
    cli.commit()
    result = cli("run", "--quiet")
    assert result.returncode == 1
    assert "| line 100\n" in result.stdout and "| line 80\n" in result.stdout
    assert "| line 5\n" not in result.stdout and "never\n" not in result.stdout.replace("echo never", "")
    assert result.stdout.count("exit code 7") == 2, "with the step, and at the end of its log"
    assert "[build] ✗ failure in" in result.stdout
    loud = cli("run")
    assert loud.stdout.count("exit code 7") == 2, "among the lines of the step, and at the end"
    assert "all of it: akashic logs 1 build" in result.stdout
    assert "✗ run 1 failed" in result.stdout
    assert "line 5\n" in cli("logs", "1", "build").stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("on: push\njobs:\n  a: [", "ci.yml:"),
        ("on: push\njobs:\n  a:\n    runs-on: x\n    stepz: []\n    steps: [{run: echo}]\n", "ci.yml:5:5"),
        (
            "on: push\njobs:\n  a: {needs: b, runs-on: x, steps: [{run: echo}]}\n"
            "  b: {needs: a, runs-on: x, steps: [{run: echo}]}\n",
            "ci.yml:3:",
        ),
        ("jobs:\n  a: {runs-on: x, steps: [{run: echo}]}\n", "ci.yml:1:1"),
        ("on: push\njobs:\n  a: {uses: ./.github/workflows/none.yml}\n", "ci.yml:3:"),
        ("", "ci.yml"),
    ],
)
def test_a_broken_workflow_ends_with_two_and_its_place(cli: Cli, text: str, message: str) -> None:
    cli.workflow(text)
    cli.commit()
    result = cli("run")
    assert result.returncode == 2, result.stdout
    assert f".github/workflows/{message}" in result.stderr
    assert result.stdout == ""
    assert cli("runs").stdout.startswith("no runs yet")


def test_ctrl_c_ends_the_run_and_everything_it_started(cli: Cli) -> None:
    sleeper = marker()
    cli.workflow(steps(f"(setsid {sleeper} &); {sleeper}"))
    cli.commit()
    process = cli.start("run")
    assert eventually(lambda: living(sleeper.split()[1]))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "cancelling; press Ctrl-C again" in stderr
    assert "run 1 was cancelled" in stdout
    assert not living(sleeper.split()[1])
    assert cli.json("runs")[0]["conclusion"] == "cancelled"


def test_a_second_ctrl_c_does_not_wait_for_a_process_that_ignores_the_first(cli: Cli) -> None:
    sleeper = marker()
    cli.workflow(steps(f"trap '' INT TERM; while true; do {sleeper}; done"))
    cli.commit()
    process = cli.start("run")
    assert eventually(lambda: living(sleeper.split()[1]))
    process.send_signal(signal.SIGINT)
    assert eventually(lambda: cli.json("runs")[0]["status"] != "queued")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "ending at once" in stderr
    assert not living(sleeper.split()[1])


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_a_killed_run_is_taken_on_and_no_attempt_starts_twice(cli: Cli, sandbox: str) -> None:
    sleeper = marker()
    note = 'echo "$AKASHIC_JOB $AKASHIC_ATTEMPT" >> "$AKASHIC_STATE/counter"'
    cli.workflow(
        f"on: push\njobs:\n"
        f"  first: {{runs-on: x, steps: [{{run: '{note}'}}]}}\n"
        f"  second: {{needs: first, runs-on: x, steps: ["
        f"{{run: '{note}; test $AKASHIC_ATTEMPT = 2 || {sleeper}'}}]}}\n"
        f"  last: {{needs: second, runs-on: x, steps: [{{run: '{note}'}}]}}\n"
    )
    cli.commit()
    process = cli.start("run", "--sandbox", sandbox)
    assert eventually(lambda: living(sleeper.split()[1])), process.poll()
    process.kill()
    process.wait(timeout=20)
    listed = cli("runs").stdout
    assert "interrupted" in listed and "akashic resume" in listed
    result = cli("resume", "--sandbox", sandbox)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "is taken on again" in result.stdout
    assert not living(sleeper.split()[1])
    counted = (cli.path / ".akashic" / "counter").read_text().splitlines()
    assert counted == ["first 1", "second 1", "second 2", "last 1"]
    assert "nothing to resume" in cli("resume").stdout
    assert cli("journal", "verify").returncode == 0


def test_what_was_interrupted_can_run_again(cli: Cli, tmp_path: Path) -> None:
    go = tmp_path / "go"
    cli.workflow(steps(f"test -e {go}"))
    cli.commit()
    assert cli("run", "--sandbox", "off").returncode == 1
    go.touch()
    result = cli("rerun", "--failed", "--sandbox", "off")
    assert result.returncode == 0, result.stderr
    assert "started (attempt 2)" in result.stdout
    assert cli("rerun", "--failed").returncode == 2


def test_two_runs_at_once_share_a_repository(cli: Cli) -> None:
    cli.workflow(steps("echo one", "echo two"))
    cli.commit()
    both = [cli.start("run"), cli.start("run")]
    for process in both:
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stdout + stderr
    runs = cli.json("runs")
    assert sorted(run["sequence"] for run in runs) == [1, 2]
    assert [run["conclusion"] for run in runs] == ["success"] * 2
    assert cli("journal", "verify").returncode == 0


def test_several_workflows_run_side_by_side_and_their_lines_say_which(cli: Cli) -> None:
    cli.workflow(steps("echo a"), "a.yml")
    cli.workflow(steps("exit 1"), "b.yml")
    cli.commit()
    result = cli("run")
    assert result.returncode == 1
    assert "#1 [build]   | a\n" in result.stdout and "#2 [build] ✗ failure" in result.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system of its own needs root")
@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_a_state_folder_that_cannot_be_written_is_said_and_harms_nothing(cli: Cli, kind: str) -> None:
    cli.workflow(steps("head -c 3000000 /dev/zero | base64"))
    cli.commit()
    state = cli.path / ".akashic"
    state.mkdir()
    mounted = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(state)), capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine does not let us mount: {mounted.stderr.decode()}")
    try:
        if kind == "read-only":
            subprocess.run(("mount", "-o", "remount,ro", str(state)), check=True)
        result = cli("run")
        assert result.returncode in (1, 2), result.stdout
        words = "cannot keep state here" if kind == "read-only" else "space"
        assert words in (result.stderr + result.stdout).lower()
    finally:
        subprocess.run(("umount", "-l", str(state)), check=True)
    assert cli("run").returncode == 0


def test_outside_a_repository(cli: Cli, tmp_path: Path) -> None:
    result = cli("run", cwd=tmp_path)
    assert result.returncode == 2
    assert "not a git repository" in result.stderr and "hint:" in result.stderr


def test_minus_c(cli: Cli, tmp_path: Path) -> None:
    cli.workflow(steps("echo hello"))
    cli.commit()
    for argv in (("-C", str(cli.path), "run"), ("run", "-C", str(cli.path)), ("--directory=shop", "run")):
        assert cli(*argv, cwd=tmp_path).returncode == 0
    result = cli("-C", "nowhere", "run")
    assert result.returncode == 2
    assert "nowhere: no such folder" in result.stderr


def test_no_workflows(cli: Cli) -> None:
    cli.commit()
    result = cli("run")
    assert result.returncode == 2
    assert "no workflow files" in result.stderr and ".github/workflows" in result.stderr


def test_nothing_triggered_is_no_failure_and_says_why(cli: Cli) -> None:
    cli.workflow(steps("echo", head="on: {push: {branches: [release]}}"))
    cli.commit()
    result = cli("run")
    assert result.returncode == 0
    assert "nothing to run" in result.stderr and "branch main does not match" in result.stderr


def test_one_job_and_its_needs(cli: Cli) -> None:
    cli.workflow(
        "on: push\njobs:\n  a: {runs-on: x, steps: [{run: echo}]}\n"
        "  b: {needs: a, runs-on: x, steps: [{run: echo}]}\n  c: {runs-on: x, steps: [{run: echo}]}\n"
    )
    cli.commit()
    assert cli("run", "-j", "b").returncode == 0
    assert [job["key"] for job in cli.json("runs")[0]["jobs"]] == ["a", "b"]
    result = cli("run", "-j", "nonsense")
    assert result.returncode == 2
    assert "no job `nonsense`" in result.stderr


def test_a_matrix_can_be_narrowed(cli: Cli) -> None:
    matrix = "    strategy: {matrix: {os: [linux, mac], level: [1, 2]}}\n"
    cli.workflow(steps("echo ${{ matrix.os }}-${{ matrix.level }}", more=matrix))
    cli.commit()
    result = cli("run", "--matrix", "os:linux", "--matrix", "level:2")
    assert result.returncode == 0
    assert "linux-2" in result.stdout and "mac-" not in result.stdout and "linux-1" not in result.stdout


def test_inputs_vars_env_and_actor_reach_the_steps(cli: Cli) -> None:
    head = "on: {workflow_dispatch: {inputs: {who: {type: string}, loud: {type: boolean}}}}"
    cli.workflow(
        steps(
            "echo ${{ inputs.who }} ${{ inputs.loud && 'LOUD' || 'quiet' }} ${{ vars.LEVEL }} $PLACE "
            "${{ github.actor }} $FROM_FILE ${{ vars.KEPT }}",
            head=head,
        )
    )
    cli.commit()
    cli.write("some.env", "FROM_FILE='in a file'\n")
    cli.write("some.vars", '# kept\nKEPT="too"\n')
    cli.write("some.inputs", "loud=true\nwho=nobody\n")
    result = cli(
        *(
            "run",
            "--input",
            "who=world",
            "--input-file",
            "some.inputs",
            "--var",
            "LEVEL=3",
            "--env",
            "PLACE=here",
        ),
        *("--actor", "grace", "--env-file", "some.env", "--var-file", "some.vars"),
    )
    assert result.returncode == 0, result.stderr
    assert "| world LOUD 3 here grace in a file too\n" in result.stdout


def test_a_secret_is_masked_wherever_it_is_kept_or_shown(cli: Cli) -> None:
    secret = "s3cr3t-Zq81-value"
    cli.workflow(
        steps(
            'echo token ${{ secrets.TOKEN }}; echo ${{ secrets.TOKEN }} | rev | rev; echo "::error::$T"',
            more="    env: {T: '${{ secrets.TOKEN }}'}\n    name: a ${{ github.job }}\n",
        )
    )
    cli.commit()
    result = cli("run", "-s", "TOKEN", env={"TOKEN": secret})
    assert result.returncode == 0, result.stderr
    assert "token ***" in result.stdout
    shown = result.stdout + result.stderr + cli("logs").stdout + cli("--json", "runs").stdout
    assert secret not in shown
    assert secret.encode() not in cli.journal_bytes
    lines = cli("--json", "run", "-s", f"TOKEN={secret}").stdout
    assert secret not in lines and "***" in lines


def test_a_secret_without_a_value_asks_for_one(cli: Cli) -> None:
    cli.workflow(steps("echo"))
    cli.commit()
    result = cli("run", "-s", "TOKEN")
    assert result.returncode == 2
    assert "TOKEN: no value" in result.stderr
    assert "=hunter2" not in cli("run", "-s", "=hunter2").stderr


def test_json_lines_tell_the_whole_run(cli: Cli) -> None:
    cli.workflow(steps("echo hello", "exit 3"))
    cli.commit()
    result = cli("--json", "run")
    assert result.returncode == 1
    events = [json.loads(line) for line in result.stdout.splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "RunCreated" and kinds[-1] == "RunFinished"
    assert {"JobStarted", "StepStarted", "LogLine", "StepFinished", "JobFinished"} <= set(kinds)
    assert len({event["run_id"] for event in events}) == 1
    assert "hello" in [event["text"] for event in events if event["type"] == "LogLine"]
    assert events[-1]["conclusion"] == "failure"


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"CI": "true"}, {}])
def test_without_a_terminal_there_is_no_colour(cli: Cli, variable: dict[str, str]) -> None:
    cli.workflow(steps(r"printf '\033[31mred\033[0m \033]0;title\007\n'"))
    cli.commit()
    result = cli("run", env=variable)
    assert "red ␛]0;title␇" in result.stdout
    assert "\x1b" not in result.stdout


def test_dry_run_list_and_graph_run_nothing(cli: Cli) -> None:
    cli.workflow(steps("touch /tmp/never"))
    cli.workflow(steps("echo", job="out", head="on: [release, workflow_dispatch]"), "release.yml")
    cli.commit()
    for option in ("-n", "--dryrun", "--dry-run", "-g"):
        result = cli("run", option)
        assert result.returncode == 0
        assert "  1  build" in result.stdout and "release.yml does not run" in result.stdout
    rows = [line.split() for line in cli("run", "-l").stdout.splitlines()]
    assert rows[1:] == [
        ["0", "build", "build", "ci", "ci.yml", "push"],
        ["0", "out", "out", "ci", "release.yml", "release,workflow_dispatch"],
    ]
    assert len(cli("run", "-l", "release").stdout.splitlines()) == 2
    assert cli.json("run", "-l")[0]["job_id"] == "build"
    assert cli("runs").stdout.startswith("no runs yet")


def test_uncommitted_changes_run_unless_the_commit_is_asked_for(cli: Cli) -> None:
    cli.workflow(steps("cat a.txt").replace("steps:\n", "steps:\n      - uses: actions/checkout@v4\n"))
    cli.write("a.txt", "committed\n")
    cli.commit()
    cli.write("a.txt", "edited\n")
    result = cli("run")
    assert "| edited\n" in result.stdout and "+ uncommitted changes" in result.stdout
    result = cli("run", "--from-commit")
    assert "| committed\n" in result.stdout and "uncommitted" not in result.stdout


def test_a_reader_that_leaves_does_not_change_how_the_run_ends(cli: Cli) -> None:
    cli.workflow(steps("for i in $(seq 2000); do echo line $i; done; exit 1"))
    cli.commit()
    process = cli.start("run")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    assert process.wait(timeout=60) == 1


def test_watch_runs_again_what_a_change_affects(cli: Cli) -> None:
    cli.workflow(steps("cat $AKASHIC_ROOT/a.txt", head="on: {push: {paths: [a.txt]}}"))
    cli.write("a.txt", "one\n")
    cli.commit()
    process = cli.start("run", "--watch", "--sandbox", "off", stderr=subprocess.STDOUT)
    assert process.stdout is not None
    lines: list[str] = []

    def until(text: str) -> None:
        for line in process.stdout or ():
            lines.append(line)
            if text in line:
                return
        raise AssertionError(lines)

    until("run 1 succeeded")
    until("watching for changes")
    cli.write("b.txt", "not looked at\n")
    until("nothing to run")
    until("watching for changes")
    cli.write("a.txt", "two\n")
    until("changed: a.txt")
    until("run 2 succeeded")
    assert any("| two" in line for line in lines)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert len(cli.json("runs")) == 2


def test_a_tag_can_be_pushed_in_thought(cli: Cli) -> None:
    cli.workflow(steps('echo "$GITHUB_REF_TYPE $GITHUB_REF"', head="on: {push: {tags: ['v*']}}"))
    cli.commit()
    nothing = cli("run")
    assert nothing.returncode == 0 and "akashic run --tag NAME" in nothing.stderr
    assert "tag refs/tags/v1.2.3" in cli("run", "--tag", "v1.2.3").stdout
    assert "does not match `tags`" in cli("run", "--tag", "other").stderr


def test_the_way_to_a_matrix_jobs_log_can_be_typed(cli: Cli) -> None:
    cli.workflow(steps("exit 1", more="    strategy: {matrix: {a: [1]}}\n"))
    cli.commit()
    result = cli("run", "--quiet")
    assert "all of it: akashic logs 1 'build(0)'" in result.stdout


def test_another_system_is_told_in_the_jobs_log(cli: Cli) -> None:
    text = steps('echo "$RUNNER_OS"', more="    strategy: {matrix: {os: [windows-2025]}}\n")
    cli.workflow(text.replace("ubuntu-latest", "${{ matrix.os }}"))
    cli.commit()
    result = cli("run")
    assert "runs-on windows-2025: it runs on Linux here" in result.stdout and "| Linux" in result.stdout


def test_a_job_that_takes_more_memory_than_it_may_fails(cli: Cli) -> None:
    cli.workflow(steps("python3 -c 'bytearray(400_000_000); print(1)' && echo survived"))
    cli.commit()
    result = cli("run", "--memory", "200m")
    assert result.returncode == 1 and "| survived" not in result.stdout
    assert "memory limit is used up" in result.stdout or "MemoryError" in result.stdout
    assert cli("run", "--memory", "lots").returncode == 2
    cli.write("akashic.yaml", "job_limits:\n  memory: 200m\n")
    assert "| survived" not in cli("run").stdout
    cli.write("akashic.yaml", "job_limits:\n  memory: some\n")
    refused = cli("run")
    assert refused.returncode == 2 and "memory" in refused.stderr


def test_a_step_finds_the_checkout_around_a_root_below_its_top(cli: Cli) -> None:
    workflow = steps('git -C "$AKASHIC_ROOT" rev-parse --show-toplevel')
    cli.write("part/.github/workflows/ci.yml", workflow)
    cli.commit()
    result = cli("-C", "part", "run")
    assert result.returncode == 0, result.stdout
    assert f"| {cli.path.resolve()}\n" in result.stdout
