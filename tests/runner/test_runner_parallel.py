"""Background steps: started, waited for, cancelled, in groups."""

from __future__ import annotations

from typing import Any


def test_a_background_step_runs_beside_the_next_and_its_outputs_come_with_the_wait(house: Any) -> None:
    outcome = house.run(
        """
        - id: server
          background: true
          run: |
            while [ ! -e "$RUNNER_TEMP/go" ]; do sleep 0.02; done
            echo "port=8080" >> $GITHUB_OUTPUT
            echo "FROM_SERVER=yes" >> $GITHUB_ENV
        - run: touch "$RUNNER_TEMP/go"; echo "before [${{ steps.server.outputs.port }}]"
        - wait: server
        - run: echo "after [${{ steps.server.outputs.port }}] $FROM_SERVER"
        """
    )
    assert outcome.result.conclusion == "success"
    lines = outcome.log.splitlines()
    assert "before []" in lines and "after [8080] yes" in lines


def test_the_steps_of_a_group_run_at_the_same_time(house: Any) -> None:
    outcome = house.run(
        """
        - parallel:
            - id: a
              run: touch $RUNNER_TEMP/a; until [ -e $RUNNER_TEMP/b ]; do sleep 0.02; done
              timeout-minutes: 1
            - id: b
              run: touch $RUNNER_TEMP/b; until [ -e $RUNNER_TEMP/a ]; do sleep 0.02; done
              timeout-minutes: 1
        - run: echo done
        """
    )
    assert outcome.result.conclusion == "success", outcome.log
    assert outcome.names[-2:] == ["Run echo done", "Complete job"]


def test_a_failed_background_step_fails_the_wait_that_includes_it(house: Any) -> None:
    outcome = house.run(
        """
        - {id: bad, background: true, run: exit 4}
        - {id: between, run: echo still}
        - {wait: bad}
        - {id: after, run: echo no}
        - {id: handler, if: failure(), run: 'echo "saw ${{ steps.bad.outcome }}"'}
        """
    )
    assert outcome.result.conclusion == "failure"
    assert outcome.step("Wait for bad").outcome == "failure"
    assert outcome.step("after").outcome == "skipped"
    assert "saw failure" in outcome.log


def test_a_wait_with_continue_on_error_forgives(house: Any) -> None:
    outcome = house.run(
        """
        - {background: true, run: exit 4}
        - {wait-all: , continue-on-error: true}
        - {run: echo on}
        """
    )
    assert outcome.result.conclusion == "success"


def test_cancel_ends_a_background_step_without_failing_the_job(house: Any) -> None:
    outcome = house.run(
        """
        - {id: monitor, background: true, run: 'touch $RUNNER_TEMP/up; sleep 60'}
        - run: while [ ! -e $RUNNER_TEMP/up ]; do sleep 0.02; done
        - cancel: monitor
        - run: echo "${{ steps.monitor.outcome }}"
        """
    )
    assert outcome.result.conclusion == "success"
    assert outcome.step("monitor").outcome == "cancelled"


def test_what_still_runs_at_the_end_is_waited_for_and_counts(house: Any) -> None:
    outcome = house.run("- {background: true, run: sleep 0.1; exit 1}\n- run: echo x")
    assert outcome.result.conclusion == "failure"
    assert "Background steps failed: Run sleep 0.1; exit 1" in outcome.log
    assert "Wait for all background steps" in outcome.names
