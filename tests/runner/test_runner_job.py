"""Whole jobs, from the first step to the last."""

from __future__ import annotations

import hashlib
import re
import threading
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from akashic.cancellation import Cancellation
from akashic.driver.ports import JOB_TIMEOUT
from akashic.runner.variables import workflow_of_job


def test_a_run_step_prints_and_the_job_succeeds(house: Any) -> None:
    outcome = house.run("- run: echo hello $((1+1))")
    assert outcome.result.conclusion == "success"
    assert "hello 2" in outcome.log.splitlines()
    assert outcome.names == ["Set up job", "Run echo hello $((1+1))", "Complete job"]


def test_a_failing_step_skips_the_rest_and_status_functions_still_run(house: Any) -> None:
    outcome = house.run(
        """
        - run: exit 3
          id: broken
        - run: echo not me
          id: skipped
        - if: failure()
          id: handler
          run: echo "was ${{ steps.broken.outcome }} ${{ steps.skipped.conclusion }} ${{ job.status }}"
        - if: ${{ always() }}
          id: last
          run: echo always
        """
    )
    assert outcome.result.conclusion == "failure"
    assert outcome.result.reason == "Run exit 3: Process completed with exit code 3."
    assert outcome.step("broken").outcome == "failure"
    assert outcome.step("broken").error == "Process completed with exit code 3."
    assert outcome.step("skipped").conclusion == "skipped"
    assert "was failure skipped failure" in outcome.log
    assert outcome.step("last").conclusion == "success"


def test_continue_on_error_forgives_the_step_but_shows_its_outcome(house: Any) -> None:
    outcome = house.run(
        """
        - run: exit 1
          id: a
          continue-on-error: ${{ true }}
        - run: echo "${{ steps.a.outcome }}/${{ steps.a.conclusion }}"
        """
    )
    assert outcome.result.conclusion == "success"
    assert "failure/success" in outcome.log.splitlines()


def test_files_pass_environment_outputs_paths_and_summaries_on(house: Any) -> None:
    outcome = house.run(
        """
        steps:
          - id: one
            run: |
              echo "COLOUR=blue" >> $GITHUB_ENV
              printf 'text<<END\\nfirst\\nsecond\\nEND\\n' >> $GITHUB_OUTPUT
              mkdir -p bin && printf '#!/bin/sh\\necho from-tool' > bin/tool && chmod +x bin/tool
              echo "$PWD/bin" >> $GITHUB_PATH
              echo '# Done' >> $GITHUB_STEP_SUMMARY
          - run: tool; echo "$COLOUR ${{ env.COLOUR }}"
            env: {COLOUR: "${{ env.COLOUR }}-ish"}
          - run: test ! -s "$GITHUB_ENV" && test ! -s "$GITHUB_OUTPUT" && echo "$COLOUR"
        outputs:
          text: ${{ steps.one.outputs.text }}
        """
    )
    lines = outcome.log.splitlines()
    assert "from-tool" in lines and "blue-ish blue-ish" in lines and "blue" in lines
    assert outcome.result.outputs == {"text": "first\nsecond"}
    assert outcome.result.summary == "# Done\n"


def test_the_environment_is_layered_as_on_github(house: Any) -> None:
    outcome = house.run(
        """
        env: {A: job, B: job, C: job}
        steps:
          - run: |
              echo "B=file" >> $GITHUB_ENV
              echo "GITHUB_SHA=forged" >> $GITHUB_ENV
          - env: {C: step, RUNNER_OS: forged}
            run: echo "$A $B $C $GITHUB_SHA $RUNNER_OS $CI"
          - run: echo "$A $B $C"
        """
    )
    assert f"job file step {'0' * 40} Linux true" in outcome.log.splitlines()
    assert "job file job" in outcome.log.splitlines()


def test_defaults_shells_and_working_directories(house: Any) -> None:
    outcome = house.run(
        """
        defaults: {run: {shell: bash, working-directory: sub}}
        steps:
          - run: mkdir sub
            working-directory: .
          - run: pwd; set -o | grep pipefail
          - shell: python
            run: print("python", 6 * 7)
          - shell: sh
            run: echo "sh $0"
          - shell: bash -x {0}
            run: echo custom
          - working-directory: nowhere
            run: echo never
        """
    )
    assert "pipefail       \ton" in outcome.log
    assert "python 42" in outcome.log and "+ echo custom" in outcome.log
    assert outcome.result.conclusion == "failure"
    assert re.search(r"\.yml:\d+:\d+: working-directory: no such folder: 'nowhere'", outcome.log)
    assert "no such folder" in outcome.step("Run echo never").error


def test_a_default_that_does_not_fit_is_told_where_it_stands(house: Any) -> None:
    outcome = house.run("defaults: {run: {shell: cmd}}\nsteps:\n  - run: echo never\n  - uses: ./nowhere")
    assert re.search(r"\.yml:\d+:\d+: shell 'cmd' exists on Windows only", outcome.log)


def test_a_name_sees_the_step_s_own_env(house: Any) -> None:
    outcome = house.run(
        """
        env: {A: job}
        steps:
          - {name: "n ${{ env.A }} ${{ env.B }}", run: "true", env: {A: own, B: "${{ github.job }}"}}
          - {run: "echo ${{ env.B }}", env: {B: "x"}}
        """
    )
    assert outcome.names[1:3] == ["n own build", "Run echo x"]


@pytest.mark.parametrize(
    ("path", "file", "ref", "sha"),
    [
        ("./.github/workflows/called.yml", "mine/app .github/workflows/called.yml", "refs/heads/main", "c1"),
        (".github/workflows/ci.yml", "mine/app .github/workflows/ci.yml", "refs/heads/main", "c1"),
        ("octo/shared/.github/workflows/r.yml@v1", "octo/shared .github/workflows/r.yml", "v1", ""),
        (
            f"octo/shared/.github/workflows/r.yml@{'a' * 40}",
            "octo/shared .github/workflows/r.yml",
            "a" * 40,
            "a" * 40,
        ),
    ],
)
def test_a_job_knows_the_workflow_that_defines_it(path: str, file: str, ref: str, sha: str) -> None:
    github = {"repository": "mine/app", "workflow_ref": "mine/app/.github/workflows/ci.yml@refs/heads/main"}
    request: Any = SimpleNamespace(workflow_path=path, github={**github, "workflow_sha": "c1"})
    repository, name = file.split()
    assert workflow_of_job(request) == {
        "workflow_ref": f"{repository}/{name}@{ref}",
        "workflow_sha": sha,
        "workflow_repository": repository,
        "workflow_file_path": name,
    }


def test_a_name_of_several_lines_is_its_first(house: Any) -> None:
    outcome = house.run('- {name: "\\n one\\n two", run: "true"}')
    assert outcome.names[1] == "one"


def test_a_name_made_by_an_expression_has_one_line(house: Any) -> None:
    outcome = house.run("- run: echo '${{ toJSON(github.actor) }}${{ fromJSON('\"\\n\\nx\"') }}'")
    assert outcome.names[1] == 'Run echo \'"mona"'


def test_a_step_that_takes_too_long_ends_as_timed_out(house: Any) -> None:
    outcome = house.run("""- {run: sleep 60, id: slow, timeout-minutes: "${{ fromJSON('0.005') }}"}""")
    assert outcome.step("slow").outcome == "timed_out"
    assert "has timed out after" in outcome.step("slow").error
    assert outcome.result.conclusion == "failure"


def test_a_job_that_takes_too_long_still_runs_its_always_steps(house: Any) -> None:
    cancellation = Cancellation()
    threading.Timer(0.5, cancellation.cancel, kwargs={"source": JOB_TIMEOUT, "reason": "time is up"}).start()
    outcome = house.run(
        """
        - {run: sleep 60, id: slow}
        - {if: always(), run: echo cleaned, id: cleanup}
        - {run: echo never, id: never}
        """,
        cancellation=cancellation,
    )
    assert outcome.result.conclusion == "timed_out"
    assert outcome.step("slow").outcome == "cancelled"
    assert outcome.step("cleanup").outcome == "success"
    assert outcome.step("never").outcome == "skipped"


def test_cancelling_ends_the_step_and_runs_what_wants_to_run(house: Any, make_recorder: Any) -> None:
    cancellation = Cancellation()
    recorder = make_recorder(
        lambda text: cancellation.cancel(source="user", reason="Ctrl-C") if text == "ready" else None
    )
    outcome = house.run(
        """
        - {run: "echo ready; sleep 60", id: slow}
        - {if: cancelled(), run: 'echo "status ${{ job.status }}"', id: told}
        - {if: failure(), run: echo no, id: failure}
        """,
        cancellation=cancellation,
        recorder=recorder,
    )
    assert outcome.result.conclusion == "cancelled"
    assert outcome.result.reason == "Ctrl-C"
    assert outcome.step("slow").outcome == "cancelled"
    assert "status cancelled" in outcome.log
    assert outcome.step("failure").outcome == "skipped"


def test_a_condition_that_is_wrong_fails_its_step_with_a_position(house: Any) -> None:
    outcome = house.run("""- {run: echo x, id: a, if: "fromJSON('x')"}""")
    assert outcome.step("a").outcome == "failure"
    assert "ci.yml:6:34: if:" in outcome.step("a").error


def test_outputs_that_hold_a_secret_are_dropped_with_a_warning(house: Any) -> None:
    house.secrets[""] = {"TOKEN": "hunter2-hunter2"}
    outcome = house.run(
        """
        steps:
          - id: a
            env: {TOKEN: "${{ secrets.TOKEN }}"}
            run: |
              echo "leak=x-$TOKEN-y" >> $GITHUB_OUTPUT
              echo "fine=ok" >> $GITHUB_OUTPUT
              echo "token is $TOKEN"
        outputs:
          leak: ${{ steps.a.outputs.leak }}
          fine: ${{ steps.a.outputs.fine }}
        """
    )
    assert outcome.result.outputs == {"fine": "ok"}
    assert any("may contain secret" in a.message for a in outcome.result.annotations)
    assert "hunter2" not in outcome.log and "token is ***" in outcome.log


def test_the_environment_url_is_evaluated_after_the_steps(house: Any) -> None:
    outcome = house.run(
        """
        environment: {name: staging, url: "https://${{ steps.a.outputs.host }}/"}
        steps:
          - id: a
            run: echo host=example.test >> $GITHUB_OUTPUT
        """,
        environment="staging",
    )
    assert outcome.result.environment_url == "https://example.test/"


def test_the_event_file_and_documented_variables_are_there(house: Any) -> None:
    outcome = house.run(
        """
        - id: me
          run: |
            grep -q '"message": *"hello"' $GITHUB_EVENT_PATH && echo event
            echo "$GITHUB_ACTION $GITHUB_JOB $GITHUB_REPOSITORY $GITHUB_REF_NAME $GITHUB_RUN_ID"
            echo "$RUNNER_OS $RUNNER_NAME $RUNNER_ENVIRONMENT"
            echo "$AKASHIC_RUN_ID $AKASHIC_JOB $AKASHIC_ATTEMPT"
            test -d "$RUNNER_TEMP" && test -d "$GITHUB_WORKSPACE" && echo folders
            echo "token=[$GITHUB_TOKEN]"
        """
    )
    lines = outcome.log.splitlines()
    assert {
        "event",
        "folders",
        "me build octo/app main 7",
        "Linux akashic self-hosted",
        "run build 1",
    } <= set(lines)
    assert "token=[]" in lines


def test_steps_get_no_secret_in_a_run_from_a_fork(house: Any) -> None:
    outcome = house.run('- run: echo "[${{ secrets.TOKEN }}] [${{ github.token }}]"', trust="fork")
    assert "[] []" in outcome.log.splitlines()


def test_what_a_container_asks_for_is_refused_by_name_on_the_host(house: Any) -> None:
    outcome = house.run("container: node:20\nsteps:\n  - run: echo x")
    assert outcome.result.conclusion == "failure"
    assert "container" in outcome.result.reason and outcome.names == ["Set up job"]
    assert re.match(r"\S+\.yml:\d+:\d+: job build runs in", outcome.result.reason)


def test_an_action_that_cannot_be_found_is_told_with_its_place(house: Any) -> None:
    outcome = house.run("- run: echo never\n- uses: octo/missing@v1")
    assert outcome.result.conclusion == "failure" and outcome.names == ["Set up job"]
    assert re.match(r"\S+\.yml:\d+:\d+: octo/missing@v1", outcome.result.reason), outcome.result.reason


def test_hash_files_sees_the_workspace(house: Any) -> None:
    outcome = house.run(
        """
        - run: mkdir -p a/b && printf x > a/b/lock.txt && printf y > a/other
        - run: echo "[${{ hashFiles('**/lock.txt') }}] [${{ hashFiles('none/*') }}]"
        """
    )
    once = hashlib.sha256(hashlib.sha256(b"x").digest()).hexdigest()
    assert f"[{once}] []" in outcome.log.splitlines()


def test_long_lines_and_bytes_that_are_not_text_are_stored(house: Any) -> None:
    outcome = house.run(
        "- run: |\n    head -c 1000000 /dev/zero | tr '\\0' x; echo\n    printf 'a\\377b\\nlast'"
    )
    lines = outcome.log.splitlines()
    assert "x" * 1_000_000 in lines and "a\ufffdb" in lines and "last" in lines


def test_what_a_step_leaves_running_does_not_hold_the_job(house: Any) -> None:
    outcome = house.run("- run: (sleep 60 > /dev/null 2>&1 &) ; echo done\n- run: echo next")
    assert outcome.result.conclusion == "success"
    assert outcome.result.duration_s < 30


def test_a_reporter_that_takes_blocks_gets_blocks(house: Any) -> None:
    class Blocks:
        def __init__(self) -> None:
            self.blocks: list[str] = []

        def job_ready(self, notes: tuple[str, ...]) -> None: ...

        def step_started(self, number: int, name: str) -> None: ...

        def line(self, number: int, text: str) -> None:
            raise AssertionError("a block was expected")

        def lines(self, number: int, block: str) -> None:
            self.blocks.append(block)

        def step_finished(self, report: object) -> None: ...

    blocks = Blocks()
    house.run("- run: seq 3", recorder=blocks)
    assert "1\n2\n3\n" in "".join(blocks.blocks)
    assert all(block.endswith("\n") for block in blocks.blocks)


@pytest.mark.parametrize("value", ['"\\0"', "${{ fromJSON('\"\\u0000\"') }}"])
def test_a_variable_that_no_process_can_have_fails_its_step(house: Any, value: str) -> None:
    outcome = house.run(f"- id: a\n  run: echo x\n  env:\n    A: {value}")
    assert outcome.step("a").outcome == "failure"
    assert "cannot be given to a process" in outcome.step("a").error


def test_halves_of_characters_do_not_stop_anything(house: Any) -> None:
    house.secrets[""] = {"TOKEN": "hunter2hunter2"}
    outcome = house.run(
        """
        steps:
          - name: n ${{ fromJSON('"\\ud800"') }}
            id: a
            env: {A: "${{ fromJSON('\\"\\\\ud800\\"') }}"}
            run: echo "${{ fromJSON('"\\ud800"') }}"
        outputs: {a: "${{ fromJSON('\\"\\\\ud800\\"') }}"}
        """
    )
    assert outcome.result.conclusion == "success", outcome.log
    assert msgspec.json.encode([outcome.result, outcome.recorder.reports])


def test_a_request_that_comes_while_a_condition_is_evaluated_ends_its_step(
    house: Any, monkeypatch: Any
) -> None:
    cancellation = Cancellation()

    def looked(*_: object) -> str:
        cancellation.cancel(source="user", reason="Ctrl-C")
        return ""

    monkeypatch.setattr("akashic.runner.job.hash_files", looked)
    outcome = house.run(
        """
        steps:
        - {if: "hashFiles('none') == ''", run: sleep 600, id: slow}
        """,
        cancellation=cancellation,
    )
    assert outcome.result.conclusion == "cancelled"
    assert outcome.step("slow").outcome == "cancelled"


def test_a_step_that_runs_after_a_cancellation_has_the_jobs_time(house: Any, make_recorder: Any) -> None:
    cancellation = Cancellation()

    def on_line(text: str) -> None:
        if text == "begun":
            cancellation.cancel(source="test", reason="enough", force=False)

    outcome = house.run(
        "- {id: first, run: echo begun; sleep 300}\n- {id: tidy, if: always(), run: sleep 300}",
        cancellation=cancellation,
        recorder=make_recorder(on_line),
        cancel_timeout_s=0.2,
    )
    assert outcome.step("tidy").outcome == "timed_out"
