"""Actions: composite, JavaScript, local, fetched, overridden, pinned."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from akashic.errors import AkashicError

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")

COMPOSITE = """
name: greet
inputs:
  who: {default: "${{ github.actor }}"}
outputs:
  said: {value: "${{ steps.say.outputs.text }}"}
runs:
  using: composite
  steps:
    - id: say
      shell: bash
      env: {ONLY_HERE: "1"}
      run: |
        echo "text=hello ${{ inputs.who }}" >> $GITHUB_OUTPUT
        echo "FROM_ACTION=exported" >> $GITHUB_ENV
        test -f "$GITHUB_ACTION_PATH/action.yml"
        test -f "${{ github.action_path }}/action.yml" && echo found
    - shell: bash
      run: echo "second [$ONLY_HERE] [$CALLER] [$INPUT_WHO] [${{ steps.say.outputs.text }}]"
"""


def test_a_fetched_composite_action_runs_its_steps_in_a_frame_of_its_own(house: Any, publish: Any) -> None:
    publish("octo/greet", {"action.yml": COMPOSITE})
    outcome = house.run(
        """
        - id: greet
          uses: octo/greet@v1
          with: {who: world}
          env: {CALLER: "yes"}
        - run: echo "[$SAID] [$FROM_ACTION] [$ONLY_HERE] [${{ steps.say.outputs.text }}]"
          env: {SAID: "${{ steps.greet.outputs.said }}"}
        """
    )
    assert outcome.result.conclusion == "success", outcome.log
    lines = outcome.log.splitlines()
    assert "found" in lines
    assert "second [] [yes] [] [hello world]" in lines
    assert "[hello world] [exported] [] []" in lines


def test_defaults_of_inputs_are_evaluated_and_unknown_inputs_are_told(house: Any, publish: Any) -> None:
    publish("octo/greet", {"action.yml": COMPOSITE})
    outcome = house.run(
        '- {id: greet, uses: octo/greet@v1, with: {whom: x}}\n- run: echo "[${{ steps.greet.outputs.said }}]"'
    )
    assert "[hello mona]" in outcome.log.splitlines()
    assert any("Unexpected input(s) 'whom'" in a.message for a in outcome.result.annotations)


def test_a_composite_action_knows_its_own_result(house: Any, publish: Any) -> None:
    steps = """
- {shell: bash, run: "echo 1 ${{ github.action_status }}"}
- {shell: bash, run: exit 1}
- {shell: bash, run: "echo 2 ${{ github.action_status }} ${{ job.status }}", if: always()}
"""
    indented = steps.replace("\n", "\n    ")
    publish("octo/own", {"action.yml": f"name: own\nruns:\n  using: composite\n  steps: {indented}"})
    outcome = house.run("- uses: octo/own@v1\n- {if: always(), run: 'echo [${{ github.action_status }}]'}")
    assert {"1 success", "2 failure success", "[]"} <= set(outcome.log.splitlines())


def test_a_script_that_was_not_built_is_told_before_node_is_started(house: Any, publish: Any) -> None:
    publish("octo/js", {"action.yml": "name: js\nruns: {using: node24, main: dist/index.js}"})
    outcome = house.run("- uses: octo/js@v1")
    assert outcome.result.conclusion == "failure"
    assert "octo/js@v1: its action.yml runs 'dist/index.js', and there is no such file" in outcome.log


def test_text_that_says_true_forgives_nothing(house: Any, publish: Any) -> None:
    publish(
        "octo/may",
        {
            "action.yml": """
name: may
inputs: {may: {default: "true"}}
runs:
  using: composite
  steps:
    - {shell: bash, run: exit 1, continue-on-error: "${{ inputs.may }}"}
"""
        },
    )
    outcome = house.run("- uses: octo/may@v1")
    assert outcome.result.conclusion == "failure"
    assert "continue-on-error must be true or false, got 'true'" in outcome.log


def test_composite_actions_nest_and_a_failure_inside_fails_the_step(house: Any, publish: Any) -> None:
    publish(
        "octo/inner",
        {
            "deep/action.yml": """
runs:
  using: composite
  steps:
    - {run: exit 5, shell: bash}
    - {run: echo never-inside, shell: bash}
    - {run: echo cleanup-inside, shell: bash, if: failure()}
"""
        },
    )
    publish(
        "octo/outer",
        {
            "action.yml": """
runs:
  using: composite
  steps:
    - uses: octo/inner/deep@v1
"""
        },
    )
    outcome = house.run("- {uses: octo/outer@v1, id: outer}\n- {run: echo after, id: after}")
    assert outcome.step("outer").outcome == "failure"
    assert outcome.step("after").outcome == "skipped"
    lines = outcome.log.splitlines()
    assert "cleanup-inside" in lines and "never-inside" not in lines
    assert outcome.step("outer").error == "Process completed with exit code 5."


def test_a_local_action_is_read_from_the_workspace_when_its_step_runs(house: Any) -> None:
    outcome = house.run(
        """
        - run: |
            mkdir -p .github/actions/hi
            cat > .github/actions/hi/action.yml <<'END'
            runs:
              using: composite
              steps:
                - {run: 'echo "local at $GITHUB_ACTION_PATH"', shell: bash}
            END
        - uses: ./.github/actions/hi
        """
    )
    assert outcome.result.conclusion == "success", outcome.log
    assert "/.github/actions/hi" in outcome.log


def test_a_missing_local_action_says_what_to_do(house: Any) -> None:
    outcome = house.run("- {uses: ./nowhere, id: a}")
    assert "no action.yml" in outcome.step("a").error
    assert "check out the repository" in outcome.log


JAVASCRIPT = {
    "action.yml": """
name: js
inputs:
  some name: {default: d}
runs: {using: node20, pre: pre.js, main: main.js, post: post.js, post-if: success() || failure()}
""",
    "pre.js": """
require('fs').appendFileSync(process.env.GITHUB_STATE, 'from_pre=1\\n');
console.log('pre runs');
""",
    "main.js": """
const fs = require('fs');
console.log(`main ${process.env.INPUT_SOME_NAME} ${process.env.STATE_from_pre}`);
fs.appendFileSync(process.env.GITHUB_STATE, 'from_main=2\\n');
fs.appendFileSync(process.env.GITHUB_OUTPUT, 'result=done\\n');
console.log(`path ${process.env.GITHUB_ACTION_REPOSITORY} ${process.env.GITHUB_ACTION_REF}`);
""",
    "post.js": "console.log(`post ${process.env.STATE_from_pre} ${process.env.STATE_from_main}`);",
}


@needs_node
def test_a_javascript_action_has_pre_main_post_and_state(house: Any, publish: Any) -> None:
    publish("octo/js", JAVASCRIPT)
    outcome = house.run(
        """
        - run: echo first
        - {id: js, uses: octo/js@v1, with: {some name: value}}
        - run: echo "[${{ steps.js.outputs.result }}]"; exit 1
        """
    )
    lines = outcome.log.splitlines()
    order = [lines.index(line) for line in ("pre runs", "first", "main value 1", "[done]", "post 1 2")]
    assert order == sorted(order)
    assert "path octo/js v1" in lines
    assert outcome.names[1] == "Pre octo/js@v1" and outcome.names[-2] == "Post octo/js@v1"


@needs_node
def test_post_steps_run_in_reverse_order_also_from_inside_a_composite(house: Any, publish: Any) -> None:
    for name in ("one", "two"):
        publish(
            f"octo/{name}",
            {
                "action.yml": "runs: {using: node20, main: m.js, post: p.js}\n",
                "m.js": f"console.log('main {name}')",
                "p.js": f"console.log('post {name}')",
            },
        )
    publish("octo/wrap", {"action.yml": "runs:\n  using: composite\n  steps:\n    - uses: octo/two@v1\n"})
    outcome = house.run("- uses: octo/one@v1\n- uses: octo/wrap@v1\n- run: exit 1")
    lines = [line for line in outcome.log.splitlines() if line.startswith("post ")]
    assert lines == ["post two", "post one"]


def test_the_cache_serves_an_action_when_its_server_is_gone(house: Any, publish: Any) -> None:
    publish("octo/greet", {"action.yml": COMPOSITE})
    assert house.run("- uses: octo/greet@v1").result.conclusion == "success"
    shutil.rmtree(house.server)
    assert house.run("- uses: octo/greet@v1").result.conclusion == "success"
    outcome = house.run("- uses: octo/other@v1")
    assert outcome.result.conclusion == "failure"
    assert "octo/other@v1: cannot be fetched" in outcome.result.reason
    assert "--local-repository" in outcome.log


def test_an_override_comes_first(house: Any) -> None:
    folder = house.folder / "mine"
    folder.mkdir()
    (folder / "action.yml").write_text(COMPOSITE.replace("hello", "overridden"))
    house.overrides["Octo/Greet@v1"] = str(folder)
    outcome = house.run('- {uses: octo/greet@v1, id: a}\n- run: echo "${{ steps.a.outputs.said }}"')
    assert "overridden mona" in outcome.log.splitlines()


def test_a_container_action_is_refused_with_the_executors_that_can(house: Any, publish: Any) -> None:
    outcome = house.run("- uses: docker://alpine:3")
    assert outcome.result.conclusion == "failure"
    assert "akashic run --executor docker" in outcome.log
    publish("octo/image", {"action.yml": "runs: {using: docker, image: Dockerfile}\n"})
    outcome = house.run("- {uses: octo/image@v1, id: a}")
    assert "runs in a container" in outcome.result.reason
    outcome = house.run("- {run: 'mkdir a; touch a/Dockerfile'}\n- {uses: ./a, id: a}")
    assert "runs no containers" in outcome.step("a").error and "docker" in outcome.log


@pytest.mark.parametrize(
    "uses",
    [
        "nonsense",
        "owner/repo",
        "../up",
        "./a/../../b",
        "o/r/../x@v1",
        "o/r@-x",
        "o/r@a..b",
        "o/r@",
        "/o/r@v1",
    ],
)
def test_a_uses_that_names_nothing_is_refused(house: Any, uses: str) -> None:
    with pytest.raises(AkashicError):
        house.resolver().resolve(uses)


def test_a_built_in_checkout_fills_the_workspace(house: Any, git: Any) -> None:
    house.root.joinpath("hello.txt").write_text("from the tree\n")
    git(house.root, "init", "-q")
    git(house.root, "add", "-A")
    git(house.root, "commit", "-q", "-m", "x")
    from akashic.executors.protocol import Tree

    commit = git(house.root, "rev-parse", "HEAD")
    house.parts_options["tree"] = Tree(root=str(house.root), commit=commit, dirty=False)
    outcome = house.run("- uses: actions/checkout@v4\n- run: cat hello.txt")
    assert outcome.result.conclusion == "success", outcome.log
    assert "from the tree" in outcome.log.splitlines()


@needs_node
def test_pre_parts_inside_a_composite_run_first_and_share_state_with_their_main(
    house: Any, publish: Any
) -> None:
    publish("octo/js", JAVASCRIPT)
    wrap = "inputs: {x: {}}\nruns:\n  using: composite\n  steps:\n"
    wrap += "    - {uses: octo/js@v1, with: {some name: '${{ inputs.x }}'}}\n"
    publish("octo/wrap", {"action.yml": wrap})
    outcome = house.run("- run: echo first\n- {uses: octo/wrap@v1, with: {x: given}}")
    lines = outcome.log.splitlines()
    order = [lines.index(line) for line in ("pre runs", "first", "main given 1", "post 1 2")]
    assert order == sorted(order)
    assert outcome.names[1] == "Pre octo/wrap@v1"
