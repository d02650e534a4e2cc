"""What somebody sees who types a command for the first time, and not always right."""

from __future__ import annotations

from pathlib import Path

from tests.cli.cli_process import Cli, steps

MATRIX = """
name: ci
on: push
jobs:
  test:
    name: Test on ${{ matrix.os }}
    runs-on: x
    strategy: {fail-fast: false, matrix: {os: [linux, mac]}}
    steps: [{run: 'test "${{ matrix.os }}" = linux'}]
"""


def test_a_mistyped_event_is_no_success(cli: Cli) -> None:
    cli.workflow(steps("exit 0"))
    cli.commit()
    for command in ("run", "plan"):
        result = cli(command, "psuh")
        assert result.returncode == 2
        assert "error: there is no event `psuh`" in result.stderr
        assert "did you mean `push`?" in result.stderr


def test_problems_of_a_file_say_error_once(cli: Cli) -> None:
    cli.workflow("on: push\njobs:\n  a: {uses: ./.github/workflows/gone.yml}\n")
    cli.commit()
    result = cli("run")
    assert result.returncode == 2
    assert result.stderr.startswith(".github/workflows/ci.yml:3:3: error: cannot call")


def test_a_cell_of_a_matrix_is_shown_and_run_again_by_its_name(cli: Cli) -> None:
    cli.workflow(MATRIX)
    cli.commit()
    first = cli("run")
    assert "[test (mac)] started" in first.stdout
    again = cli("rerun", "--job", "Test on mac")
    assert "[test (mac)] started (attempt 2)" in again.stdout
    assert "[test (linux)]" not in again.stdout
    wrong = cli("rerun", "--job", "Test on bsd")
    assert (wrong.returncode, "its jobs: Test on linux, Test on mac" in wrong.stderr) == (2, True)


def test_an_expression_without_contexts_says_where_they_come_from(cli: Cli) -> None:
    result = cli("expr", "eval", "github.ref")
    assert result.returncode != 0
    assert "--context FILE" in result.stderr


def test_the_files_that_act_reads_are_read_and_told(cli: Cli) -> None:
    head = "on: {push: , workflow_dispatch: {inputs: {who: {required: true}}}}"
    script = "echo \"${{ secrets.TOKEN == 'hunter22' }} ${{ vars.CITY }} ${{ inputs.who }} [$FROM_ENV]\""
    cli.workflow(steps(script, "echo ${{ secrets.TOKEN }}", head=head))
    cli.commit()
    for name, text in ((".secrets", "TOKEN=hunter22"), (".vars", "CITY=Rome"), (".input", "who=me")):
        (cli.path / name).write_text(f"{text}\n")
    (cli.path / ".env").write_text("FROM_ENV=yes\n")
    result = cli("run", "workflow_dispatch")
    assert "| true Rome me []" in result.stdout
    assert "hunter22" not in result.stdout
    assert "note: also read: .secrets, .vars, .input\n" in result.stderr
    assert "note: .env is not given to the steps" in result.stderr
    named = cli("run", "workflow_dispatch", "--secret-file", "/dev/null", "--env-file", ".env")
    assert "| false Rome me [yes]" in named.stdout
    assert "note: also read: .vars, .input\n" in named.stderr
    assert ".env" not in named.stderr


def test_a_file_of_secrets_that_leads_elsewhere_is_not_read(cli: Cli, tmp_path: Path) -> None:
    cli.workflow(steps('echo "[${{ vars.CITY }}]"'))
    cli.commit()
    (tmp_path / "other").write_text("CITY=Rome\n")
    (cli.path / ".vars").symlink_to(tmp_path / "other")
    assert "| []" in cli("run").stdout


def test_the_same_advice_is_given_once(cli: Cli) -> None:
    uses = "".join(f"      - uses: actions/checkout@v{number}\n" for number in (3, 4, 5))
    cli.workflow(steps("exit 0") + uses)
    cli.commit()
    text = cli("lint").stdout
    assert (text.count("is not pinned"), text.count("hint: pin it to a full commit")) == (3, 1)


def test_who_only_looks_leaves_nothing(cli: Cli) -> None:
    cli.workflow(steps("exit 0"))
    cli.commit()
    for argv in (("plan",), ("run", "-n"), ("run", "-l"), ("run", "-g"), ("run", "--validate"), ("lint",)):
        assert cli(*argv).returncode == 0
        assert not (cli.path / ".akashic").exists(), argv


def test_a_plan_says_why_not(cli: Cli) -> None:
    cli.workflow(steps("exit 0", more="    if: github.event_name == 'release'\n"))
    cli.commit()
    for argv in (("plan",), ("run", "-n"), ("run", "-g")):
        assert "skipped: its `if` is false: github.event_name == 'release'" in cli(*argv).stdout


FAR = "nobody/nothing/.github/workflows/x.yml@v1"
CALLS = f"""
name: calls
on: {{push: {{branches: [EVENT]}}}}
jobs:
  near: {{runs-on: x, steps: [{{run: echo near}}]}}
  far: {{uses: {FAR}}}
"""


def test_what_is_called_far_away_matters_only_to_those_who_run_it(cli: Cli) -> None:
    cli.workflow(steps("exit 0"))
    cli.workflow(CALLS.replace("EVENT", "other"), "other.yml")
    cli.commit()
    # A workflow that the event does not trigger is not asked what it calls.
    assert cli("run", "--offline").returncode == 0
    cli.workflow(CALLS.replace("EVENT", "main"), "other.yml")
    failed = cli("run", "--offline")
    assert failed.returncode == 2
    assert f"cannot call `{FAR}`: nobody/nothing@v1 is not in the cache" in failed.stderr
    # Who asks for a job gets that job.
    assert "| near" in cli("run", "--offline", "-j", "near").stdout
    # And who only wants to see the plan sees what there is.
    plan = cli("plan", "--offline")
    assert (plan.returncode, "far   calls nobody" in plan.stdout) == (0, True)
    assert "note: .github/workflows/other.yml:5:3: `nobody/" in plan.stderr
    assert "is not looked into" in plan.stderr
