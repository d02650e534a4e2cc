"""Action files become metadata, or every mistake is told."""

import pytest

from akashic.source.position import InvalidInput
from akashic.workflow.action import parse_action


def test_a_javascript_action() -> None:
    action = parse_action(
        "name: n\ndescription: d\ninputs:\n  a: {required: true, default: '${{ github.token }}'}\n  b:\n"
        "outputs: {o: {description: x}}\n"
        "runs: {using: node20, main: m.js, pre: p.js, pre-if: 'always()', post: q.js, post-if: failure()}\n"
        "branding: {icon: x, color: blue}\n",
        "action.yml",
    )
    assert action.runs.using == "node20" and action.runs.main == "m.js" and action.runs.post == "q.js"
    assert action.inputs["a"].required and action.inputs["a"].default is not None
    assert action.inputs["b"].default is None and set(action.outputs) == {"o"}


def test_a_composite_and_a_docker_action() -> None:
    action = parse_action(
        "runs:\n  using: composite\n  steps:\n    - {id: x, run: 'echo ${{ inputs.a }}', shell: bash}\n"
        "    - {uses: a/b@c, with: {k: v}, if: always()}\n"
        "outputs: {o: {value: '${{ steps.x.outputs.y }}'}}\n",
        "action.yml",
    )
    assert [step.id for step in action.runs.steps] == ["x", ""] and action.outputs["o"].value is not None
    docker = parse_action(
        "runs: {using: docker, image: Dockerfile, args: ['${{ inputs.a }}'], env: {A: b}}", "a"
    )
    assert docker.runs.image == "Dockerfile" and docker.runs.args is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x", "an action needs `runs`"),
        ("runs: {using: node21, main: x}", "must be one of node12"),
        ("runs: {using: node20}", "needs `main`"),
        ("runs: {using: docker}", "needs `image`"),
        ("runs: {using: composite}", "needs a list of `steps`"),
        ("runs: {using: composite, steps: [{run: x}]}", "needs `shell`"),
        (
            "runs: {using: composite, steps: [{run: x, shell: sh, background: true}]}",
            "not allowed in a composite",
        ),
        (
            "runs: {using: composite, steps: [{run: '${{ secrets.x }}', shell: sh}]}",
            "`secrets` is not available",
        ),
        ("[]", "an action must be a mapping"),
    ],
)
def test_a_wrong_action_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_action(text, "action.yml")
    assert message in caught.value.message
