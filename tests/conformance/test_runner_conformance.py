"""GitHub's documented rules for steps, page by page: each case is a job and what its log must hold.

Pages: "Workflow syntax for GitHub Actions", "Workflow commands for GitHub Actions", "Variables reference",
"Contexts reference", "Metadata syntax for GitHub Actions".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runner.conftest import House

# (rule, job, lines that must be in the log, how the job ends)
CASES: list[tuple[str, str, list[str], str]] = [
    (
        "syntax: steps[*].if without a status function has success() in front",
        "- run: exit 1\n- {if: 'true', run: echo never}\n- {if: 'true || always()', run: echo ran}",
        ["ran", "!never"],
        "failure",
    ),
    (
        "syntax: steps[*].if with and without ${{ }}",
        "- {if: github.actor == 'mona', run: echo a}\n- {if: \"${{ github.actor != 'mona' }}\", run: echo b}",
        ["a", "!b"],
        "success",
    ),
    (
        "syntax: steps[*].if sees the step's own env",
        "- {if: env.X == '1', run: echo yes, env: {X: 1}}",
        ["yes"],
        "success",
    ),
    (
        "syntax: steps[*].continue-on-error passes the job",
        "- {run: exit 1, continue-on-error: true}\n- run: echo on",
        ["on"],
        "success",
    ),
    (
        "syntax: steps[*].continue-on-error is a Boolean, and text is none",
        "- {run: exit 1, continue-on-error: \"${{ 'true' }}\"}\n- run: echo never",
        ["!never"],
        "failure",
    ),
    (
        "syntax: a step's folder may be made by an earlier step, and may be an expression",
        "- run: mkdir -p made/deep\n- {run: 'echo ${PWD##*/}', working-directory: \"${{ 'made' }}/deep\"}",
        ["deep"],
        "success",
    ),
    (
        "commands: a carriage return belongs to the value",
        "- run: printf 'A=1\\r\\nB<<E\\r\\nx\\r\\nE\\r\\n' >> $GITHUB_ENV\n"
        "- run: test \"$A\" = $'1\\r' && test \"$B\" = $'x\\r' && echo kept",
        ["kept"],
        "success",
    ),
    (
        "contexts: github.env, github.path and their siblings are the step's own files",
        "- {id: w, run: 'echo A=1 >> ${{ github.env }}; echo o=2 >> ${{ github.output }}; "
        "echo $PWD >> ${{ github.path }}; test ${{ github.step_summary }} = $GITHUB_STEP_SUMMARY'}\n"
        '- run: echo "$A ${{ steps.w.outputs.o }} ${PATH%%:*}" | sed "s#$PWD#here#"',
        ["1 2 here"],
        "success",
    ),
    (
        "expressions: fromJSON makes a number of text, which timeout-minutes does not take",
        "- {id: t, run: echo m=1 >> $GITHUB_OUTPUT}\n"
        "- {run: echo ran, timeout-minutes: '${{ fromJSON(steps.t.outputs.m) }}'}\n"
        "- {run: echo never, timeout-minutes: '${{ steps.t.outputs.m }}'}",
        ["ran", "!never"],
        "failure",
    ),
    (
        "syntax: shell unspecified is bash -e without pipefail",
        "- run: |\n    false | true\n    echo piped\n    false\n    echo never",
        ["piped", "!never"],
        "failure",
    ),
    (
        "syntax: shell bash has pipefail",
        "- {shell: bash, run: 'false | true; echo never'}",
        ["!never"],
        "failure",
    ),
    (
        "syntax: a custom shell gets the script's path",
        "- {shell: 'cat {0}', run: some text}",
        ["some text"],
        "success",
    ),
    (
        "syntax: a step's shell and directory win over defaults",
        "defaults: {run: {shell: sh, working-directory: nowhere}}\nsteps:\n"
        "  - {shell: bash, working-directory: ., run: 'echo ${BASH_VERSION:+bash}'}",
        ["bash"],
        "success",
    ),
    (
        "commands: GITHUB_ENV is for the next steps, not for the one that writes",
        '- run: echo A=1 >> $GITHUB_ENV; echo "[$A]"\n- run: echo "[$A][${{ env.A }}]"',
        ["[]", "[1][1]"],
        "success",
    ),
    (
        "commands: GITHUB_ENV overrides a job's env, a step's env overrides both",
        'env: {A: job}\nsteps:\n  - run: echo A=file >> $GITHUB_ENV\n  - run: echo "1 $A"\n'
        "  - {run: 'echo \"2 $A\"', env: {A: step}}",
        ["1 file", "2 step"],
        "success",
    ),
    (
        "commands: GITHUB_PATH puts the last folder first",
        '- run: |\n    for d in x y; do mkdir $d; printf "#!/bin/sh\\necho from-$d" > $d/t; chmod +x $d/t; '
        "echo $PWD/$d >> $GITHUB_PATH; done\n- run: t",
        ["from-y"],
        "success",
    ),
    (
        "commands: summaries of all steps are kept in order",
        "- run: echo one >> $GITHUB_STEP_SUMMARY\n- run: echo two >> $GITHUB_STEP_SUMMARY",
        [],
        "success",
    ),
    (
        "commands: groups and debug",
        "- run: echo '::group::G'; echo in; echo '::endgroup::'; echo '::debug::no'",
        ["##[group]G", "in", "##[endgroup]", "!##[debug]no"],
        "success",
    ),
    (
        "commands: masking a value",
        '- run: V=$(echo Z25vbWUtd29yZA== | base64 -d); echo "::add-mask::$V"; echo "it is $V"',
        ["it is ***"],
        "success",
    ),
    (
        "commands: masking a value in an environment file",
        '- run: V=$(echo Z25vbWUtd29yZA== | base64 -d); echo "::add-mask::$V"; echo V=$V >> $GITHUB_ENV\n'
        '- run: echo "it is $V"',
        ["it is ***"],
        "success",
    ),
    (
        "commands: stopping and starting",
        "- run: |\n    echo '::stop-commands::pause'\n    echo '::group::raw'\n"
        "    echo '::pause::'\n    echo '::group::G'",
        ["::group::raw", "##[group]G"],
        "success",
    ),
    (
        "variables: GITHUB_* and RUNNER_* cannot be overwritten, CI can",
        "- {run: 'echo \"$GITHUB_JOB $RUNNER_OS $CI\"', env: {GITHUB_JOB: x, RUNNER_OS: x, CI: mine}}",
        ["build Linux mine"],
        "success",
    ),
    (
        "contexts: steps shows outcome before and conclusion after continue-on-error, outputs as strings",
        "- {id: a, continue-on-error: true, run: 'echo n=1 >> $GITHUB_OUTPUT; exit 1'}\n"
        "- run: echo '${{ steps.a.outcome }} ${{ steps.a.conclusion }} ${{ steps.a.outputs.n }}'",
        ["failure success 1"],
        "success",
    ),
    (
        "contexts: a skipped step is in steps, a later or unknown one is null",
        "- {id: a, if: false, run: x}\n- run: echo '[${{ steps.a.outcome }}] [${{ steps.zzz.outcome }}]'",
        ["[skipped] []"],
        "success",
    ),
    (
        "contexts: job.status follows the steps",
        "- run: echo '1 ${{ job.status }}'; exit 1\n- {if: always(), run: 'echo \"2 ${{ job.status }}\"'}",
        ["1 success", "2 failure"],
        "failure",
    ),
    (
        "contexts: runner and github have the job's folders",
        "- run: test '${{ runner.temp }}' = $RUNNER_TEMP\n"
        "- run: test '${{ github.workspace }}' = \"$PWD\" && echo same",
        ["same"],
        "success",
    ),
    (
        "syntax: background steps are waited for before the job ends",
        "- {background: true, run: sleep 0.1; echo late}\n- run: echo early",
        ["early", "late"],
        "success",
    ),
    (
        "commands: names and parameters ignore case",
        "- run: echo '::GROUP::G'; echo '::EndGroup::'; echo '::Warning File=a.js,LINE=1::w'",
        ["##[group]G", "##[endgroup]", "##[warning]w"],
        "success",
    ),
    (
        "commands: GITHUB_ENV cannot set NODE_OPTIONS",
        '- run: echo NODE_OPTIONS=--require=x >> $GITHUB_ENV\n- run: echo "[$NODE_OPTIONS]"',
        ["[]"],
        "success",
    ),
    (
        "commands: a value of several lines",
        "- run: |\n    { echo 'V<<EOF'; echo one; echo two; echo EOF; } >> $GITHUB_ENV\n"
        '- run: echo "$V" | tail -n 1',
        ["two"],
        "success",
    ),
    (
        "commands: an output of several lines",
        "- id: a\n  run: |\n    { echo 'o<<E'; echo one; echo two; echo E; } >> $GITHUB_OUTPUT\n"
        "- {env: {O: '${{ steps.a.outputs.o }}'}, run: 'echo \"$O\" | tail -n 1'}",
        ["two"],
        "success",
    ),
    (
        "commands: the step that adds a path does not see it",
        '- run: mkdir d; printf "#!/bin/sh\\necho found" > d/t; chmod +x d/t; echo $PWD/d >> $GITHUB_PATH; '
        "t || echo none\n- run: t",
        ["none", "found"],
        "success",
    ),
    (
        "commands: a removed summary is none",
        "- run: echo x >> $GITHUB_STEP_SUMMARY; rm $GITHUB_STEP_SUMMARY\n- run: echo on",
        ["on"],
        "success",
    ),
    (
        "commands: outputs of a step are strings and kept by name",
        "- {id: color-selector, run: echo SELECTED_COLOR=green >> $GITHUB_OUTPUT}\n"
        "- run: echo '${{ steps.color-selector.outputs.selected_color }}'",
        ["green"],
        "success",
    ),
    (
        "syntax: background outputs are there after the wait, not before",
        "- {id: a, background: true, run: echo o=1 >> $GITHUB_OUTPUT}\n- run: sleep 0.2; "
        "echo '[${{ steps.a.outputs.o }}]'\n- wait: a\n- run: echo '<${{ steps.a.outputs.o }}>'",
        ["[]", "<1>"],
        "success",
    ),
    (
        "syntax: a failed background step fails the job at its wait",
        "- {id: a, background: true, run: exit 1}\n- run: sleep 0.2; echo before\n- wait: a\n"
        "- run: echo never",
        ["before", "!never"],
        "failure",
    ),
    (
        "syntax: continue-on-error of wait-all forgives",
        "- {id: a, background: true, run: exit 1}\n- {wait-all: , continue-on-error: true}\n- run: echo on",
        ["on"],
        "success",
    ),
    (
        "syntax: cancel stops one background step, which may clean up",
        "- id: a\n  background: true\n  run: |\n    trap 'echo cleaned; exit 0' TERM\n    echo up\n"
        "    touch $RUNNER_TEMP/up\n    sleep 60 & wait\n"
        "- run: until [ -e $RUNNER_TEMP/up ]; do sleep 0.01; done\n- cancel: a\n- run: echo on",
        ["up", "cleaned", "on"],
        "success",
    ),
    (
        "syntax: parallel waits for all of its steps",
        "- parallel: [{run: sleep 0.2; echo one}, {run: echo two}]\n- run: echo three",
        ["one", "two", "three"],
        "success",
    ),
    (
        "syntax: a failed step of parallel fails the job after all have ended",
        "- parallel: [{run: exit 1}, {run: sleep 0.2; echo two}]\n- run: echo never",
        ["two", "!never"],
        "failure",
    ),
    (
        "syntax: shell python",
        "- {shell: python, run: 'print(1 + 1)'}",
        ["2"],
        "success",
    ),
    (
        "syntax: shell sh fails fast",
        "- {shell: sh, run: 'false; echo never'}",
        ["!never"],
        "failure",
    ),
    (
        "syntax: shell bash {0} does not fail fast",
        "- {shell: 'bash {0}', run: 'false; echo on'}",
        ["on"],
        "success",
    ),
    (
        "syntax: an empty run does nothing",
        "- run:\n- run: echo on",
        ["on"],
        "success",
    ),
    (
        "variables: CI and GITHUB_ACTIONS are true, the rest is there",
        "- run: for v in CI GITHUB_ACTIONS; do echo $v=${!v}; done; for v in GITHUB_ACTION GITHUB_ACTOR "
        "GITHUB_API_URL GITHUB_ENV GITHUB_EVENT_NAME GITHUB_EVENT_PATH GITHUB_GRAPHQL_URL GITHUB_JOB "
        "GITHUB_OUTPUT GITHUB_PATH GITHUB_REF GITHUB_REPOSITORY GITHUB_RUN_ID GITHUB_SERVER_URL GITHUB_SHA "
        "GITHUB_STEP_SUMMARY GITHUB_WORKFLOW GITHUB_WORKSPACE RUNNER_ARCH RUNNER_OS RUNNER_TEMP "
        'RUNNER_TOOL_CACHE; do [ -n "${!v}" ] || echo missing-$v; done; echo all',
        ["CI=true", "GITHUB_ACTIONS=true", "all"],
        "success",
    ),
    (
        "contexts: github.action is __run, and __run_2 for the second",
        "- run: echo $GITHUB_ACTION\n- run: echo $GITHUB_ACTION\n- {id: mine, run: echo $GITHUB_ACTION}",
        ["__run", "__run_2", "mine"],
        "success",
    ),
    (
        "expressions: a whole expression of text around is text",
        "- run: echo 'a${{ 1 }}b${{ true }}c${{ null }}d'",
        ["a1btruecd"],
        "success",
    ),
]


@pytest.mark.parametrize(("rule", "job", "lines", "ends"), CASES, ids=[case[0] for case in CASES])
def test_documented_rule(tmp_path: Path, rule: str, job: str, lines: list[str], ends: str) -> None:
    outcome: Any = House(tmp_path).run(job)
    log = outcome.log.splitlines()
    for line in lines:
        if line.startswith("!"):
            assert line[1:] not in log, rule
        else:
            assert line in log, f"{rule}\n{outcome.log}"
    assert outcome.result.conclusion == ends, rule
