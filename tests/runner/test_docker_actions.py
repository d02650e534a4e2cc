"""Docker actions, on an executor that runs images as it is told: what they are given and what they leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.errors import AkashicError
from akashic.executors.scripted import ScriptedExecutor, ScriptedSandbox
from akashic.runner.actions.arguments import split_arguments

IMAGE = "docker://alpine:3.20"
ACTION = """
name: speak
inputs:
  Who To Greet: {default: "${{ github.actor }}"}
  loud: {default: ""}
outputs:
  said: {description: what was said}
runs:
  using: docker
  image: Dockerfile
  env: {FROM_ACTION: "of ${{ inputs['who to greet'] }}", FROM_STEP: action}
  args: ["--to", "${{ inputs['who to greet'] }}", "${{ inputs.loud }}", "two words"]
"""
DOCKERFILE = "FROM scratch\n"


@pytest.fixture
def engine(house: Any) -> ScriptedExecutor:
    executor = ScriptedExecutor(str(house.folder / "scripted"), containers=True)
    house.parts_options["executor"] = executor
    return executor


def write_file(kind: str, text: str) -> Any:
    """What a process does that writes to the environment file of a kind, where it sees it."""

    def write(sandbox: ScriptedSandbox, env: Mapping[str, str]) -> None:
        path = env[f"GITHUB_{kind}"]
        assert path.startswith("/github/file_commands/"), path
        inside = sandbox.temp + "/_runner_file_commands" + path.removeprefix("/github/file_commands")
        with open(sandbox.host_path(inside), "a", encoding="utf-8") as file:
            file.write(text)

    return write


def test_an_image_is_pulled_before_the_first_step_and_runs_with_args_and_entrypoint(
    house: Any, engine: ScriptedExecutor
) -> None:
    outcome = house.run(
        f"""
        - run: echo first
        - uses: {IMAGE}
          with: {{entryPoint: /bin/echo, args: 'one "two words" $HOME'}}
        - uses: {IMAGE}
        """
    )
    assert outcome.result.conclusion == "success", outcome.log
    assert outcome.names[:3] == ["Set up job", "Pull alpine:3.20", "Run echo first"]
    assert engine.obtained == ["alpine:3.20"]
    assert engine.images[0][3]["GITHUB_ACTION"] == "__alpine_3_20"
    image, entrypoint, args, env = engine.images[0]
    assert (image, entrypoint, args) == ("alpine:3.20", "/bin/echo", ("one", "two words", "$HOME"))
    assert env["INPUT_ENTRYPOINT"] == "/bin/echo" and env["INPUT_ARGS"] == 'one "two words" $HOME'
    assert engine.images[1][1:3] == (None, ())
    assert not outcome.result.annotations


def test_the_container_sees_the_job_below_github_and_nothing_of_the_machine(
    house: Any, engine: ScriptedExecutor
) -> None:
    house.parts_options["extra_env"] = {"GIVEN": "by the user"}
    outcome = house.run(
        f"""
        - run: echo prepare
        - uses: {IMAGE}
          env: {{WHERE: "${{{{ github.workspace }}}}/below", HOME: /nowhere, CI: "maybe"}}
        """
    )
    assert outcome.result.conclusion == "success", outcome.log
    env = engine.images[0][3]
    assert env["GITHUB_WORKSPACE"] == "/github/workspace"
    assert env["HOME"] == "/github/home"
    assert env["RUNNER_TEMP"] == "/github/runner_temp"
    assert env["GITHUB_EVENT_PATH"] == "/github/workflow/event.json"
    assert env["GITHUB_OUTPUT"].startswith("/github/file_commands/")
    assert env["WHERE"] == "/github/workspace/below"
    assert env["GITHUB_ACTIONS"] == "true" and env["CI"] == "maybe" and env["GIVEN"] == "by the user"
    assert env["GITHUB_SHA"] == "0" * 40
    assert not {"PATH", "AKASHIC_STATE", "AKASHIC_ROOT", "GITHUB_ACTION_PATH"} & set(env)


def test_a_dockerfile_action_is_built_once_and_given_inputs_args_and_env(
    house: Any, engine: ScriptedExecutor, publish: Any
) -> None:
    publish("octo/speak", {"action.yml": ACTION, "Dockerfile": DOCKERFILE})
    outcome = house.run(
        """
        - {id: a, uses: octo/speak@v1, with: {who to greet: world}, env: {FROM_STEP: step}}
        - {uses: octo/speak@v1}
        """
    )
    assert outcome.result.conclusion == "success", outcome.log
    assert outcome.names[1] == "Build octo/speak@v1"
    assert len(engine.obtained) == 1 and engine.obtained[0].endswith("/Dockerfile")
    (_, entrypoint, args, env), (_, _, others, _) = engine.images
    assert entrypoint is None and args == ("--to", "world", "", "two words")
    assert others == ("--to", "mona", "", "two words")
    assert env["INPUT_WHO_TO_GREET"] == "world" and env["INPUT_LOUD"] == ""
    assert env["FROM_ACTION"] == "of world" and env["FROM_STEP"] == "step"
    assert env["GITHUB_ACTION_REPOSITORY"] == "octo/speak" and env["GITHUB_ACTION_REF"] == "v1"


def test_outputs_environment_paths_summary_and_commands_of_a_container_count(
    house: Any, engine: ScriptedExecutor
) -> None:
    writers = [
        write_file("OUTPUT", "said=hello\n"),
        write_file("ENV", "LATER=exported\n"),
        write_file("PATH", "/opt/tool\n"),
        write_file("STEP_SUMMARY", "# done\n"),
    ]
    engine.does["alpine:3.20"] = lambda sandbox, env: [write(sandbox, env) for write in writers]
    engine.answers["alpine:3.20"] = (b"::add-mask::hush-hush\nI say hush-hush\n::warning::careful\n", 0)
    outcome = house.run(
        f"""
        - {{id: a, uses: "{IMAGE}"}}
        - {{uses: "docker://other", env: {{SAID: "${{{{ steps.a.outputs.said }}}}"}}}}
        """
    )
    env = engine.images[1][3]
    assert env["SAID"] == "hello" and env["LATER"] == "exported"
    assert "PATH" not in env
    assert "hush-hush" not in outcome.log and "I say ***" in outcome.log
    assert [a.message for a in outcome.result.annotations] == ["careful"]
    assert "# done" in outcome.result.summary


STATEFUL = """
runs:
  using: docker
  image: docker://ghcr.io/octo/stateful:1
  pre-entrypoint: /pre.sh
  entrypoint: /main.sh
  post-entrypoint: /post.sh
  pre-if: github.ref == 'refs/heads/main'
  post-if: failure()
"""


def test_pre_main_and_post_share_their_state_and_obey_their_conditions(
    house: Any, engine: ScriptedExecutor, publish: Any
) -> None:
    publish("octo/stateful", {"action.yml": STATEFUL})
    engine.does["ghcr.io/octo/stateful:1"] = write_file("STATE", "seen=yes\n")
    outcome = house.run("- {uses: octo/stateful@v1, with: {entrypoint: /never.sh}}")
    assert [image[1] for image in engine.images] == ["/pre.sh", "/main.sh"]
    assert engine.images[1][3]["STATE_seen"] == "yes"
    assert outcome.names == [
        "Set up job",
        "Pull ghcr.io/octo/stateful:1",
        "Pre octo/stateful@v1",
        "Run octo/stateful@v1",
        "Post octo/stateful@v1",
        "Complete job",
    ]
    assert outcome.step("Post octo/stateful@v1").outcome == "skipped"


def test_a_composite_action_runs_docker_actions_with_their_pre_parts(
    house: Any, engine: ScriptedExecutor, publish: Any
) -> None:
    publish("octo/stateful", {"action.yml": STATEFUL})
    steps = "runs: {using: composite, steps: [{uses: octo/stateful@v1}, {uses: 'docker://inner:2'}]}"
    publish("octo/outer", {"action.yml": steps})
    outcome = house.run("- uses: octo/outer@v1")
    assert outcome.result.conclusion == "success", outcome.log
    assert engine.obtained == ["ghcr.io/octo/stateful:1", "inner:2"]
    ran = [(image, entrypoint) for image, entrypoint, _, _ in engine.images]
    name = "ghcr.io/octo/stateful:1"
    assert ran == [(name, "/pre.sh"), (name, "/main.sh"), ("inner:2", None)]


def test_a_lone_dockerfile_is_an_action(house: Any, engine: ScriptedExecutor, publish: Any) -> None:
    publish("octo/lone", {"Dockerfile": DOCKERFILE})
    outcome = house.run("- {uses: octo/lone@v1, with: {args: a b, more: x}}")
    assert outcome.result.conclusion == "success", outcome.log
    assert engine.images[0][2] == ("a", "b")
    assert ["Unexpected input(s) 'more'" in a.message for a in outcome.result.annotations] == [True]


def test_a_local_docker_action_is_built_when_its_step_runs(house: Any, engine: ScriptedExecutor) -> None:
    folder = house.root / "tools" / "lint"
    folder.mkdir(parents=True)
    (folder / "action.yml").write_text("runs: {using: docker, image: Dockerfile.lint}")
    (folder / "Dockerfile.lint").write_text(DOCKERFILE)
    outcome = house.run("- uses: actions/checkout@v4\n- uses: ./tools/lint")
    assert outcome.result.conclusion == "success", outcome.log
    assert engine.obtained == ["built:lint/Dockerfile.lint"]
    assert "Building docker image" in outcome.log


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("ubuntu:22.04", "should be either '[path]/Dockerfile' or 'docker://image[:tag]'"),
        ("missing/Dockerfile", "there is no 'missing/Dockerfile'"),
        ("../outside/Dockerfile", "leaves the action's repository"),
    ],
)
def test_an_image_that_is_none_is_told(
    house: Any, engine: ScriptedExecutor, publish: Any, image: str, message: str
) -> None:
    publish("octo/bad", {"action.yml": f"runs: {{using: docker, image: '{image}'}}"})
    outside = house.folder / "actions" / "octo" / "bad" / "outside"
    outside.mkdir(parents=True)
    (outside / "Dockerfile").write_text(DOCKERFILE)
    outcome = house.run("- uses: octo/bad@v1\n- {run: echo after, id: after}")
    assert outcome.result.conclusion == "failure"
    assert message in outcome.step("Build octo/bad@v1").error
    assert outcome.step("after").outcome == "skipped"


def test_a_dockerfile_that_is_a_link_out_of_its_repository_is_refused(
    house: Any, engine: ScriptedExecutor
) -> None:
    action = house.folder / "override"
    action.mkdir()
    (action / "Dockerfile").symlink_to("/etc/passwd")
    house.overrides["octo/link@v1"] = str(action)
    outcome = house.run("- uses: octo/link@v1")
    assert "is a link out of its repository" in outcome.result.reason


def test_an_image_that_cannot_be_had_fails_the_job_before_its_steps(
    house: Any, engine: ScriptedExecutor
) -> None:
    engine.fail_open["alpine:3.20"] = "no such image"
    outcome = house.run(f"- {{run: echo never, id: never}}\n- uses: {IMAGE}")
    assert outcome.step("Pull alpine:3.20").error == "no such image"
    assert outcome.step("never").outcome == "skipped"
    assert engine.images == []


def test_a_container_that_fails_fails_its_step(house: Any, engine: ScriptedExecutor) -> None:
    engine.answers["alpine:3.20"] = (b"no\n", 3)
    outcome = house.run(f"- {{uses: '{IMAGE}', id: a}}")
    assert outcome.step("a").error == "Process completed with exit code 3."


def test_a_container_ends_with_its_time_and_with_the_job(
    house: Any, engine: ScriptedExecutor, make_recorder: Any
) -> None:
    engine.hang = frozenset(["alpine:3.20"])
    outcome = house.run(f"- {{uses: '{IMAGE}', id: a, timeout-minutes: 0.001}}")
    assert "timed out" in outcome.step("a").error
    engine.answers["alpine:3.20"] = (b"working\n", 0)
    cancellation = Cancellation()

    def on_line(text: str) -> None:
        if text == "working":
            cancellation.cancel(source="test", reason="enough")

    outcome = house.run(
        f"- {{uses: '{IMAGE}', id: a}}", cancellation=cancellation, recorder=make_recorder(on_line)
    )
    assert outcome.result.conclusion == "cancelled"
    assert outcome.step("a").outcome == "cancelled"


def test_a_matcher_s_file_is_found_where_the_container_says(house: Any, engine: ScriptedExecutor) -> None:
    def write(sandbox: ScriptedSandbox, env: Mapping[str, str]) -> None:
        matcher = b'{"problemMatcher": [{"owner": "x", "pattern": [{"regexp": "^BAD (.*)$", "message": 1}]}]}'
        sandbox.write(f"{sandbox.workspace}/matcher.json", matcher)

    engine.does["alpine:3.20"] = write
    engine.answers["alpine:3.20"] = (b"::add-matcher::/github/workspace/matcher.json\nBAD thing\n", 0)
    outcome = house.run(f"- uses: {IMAGE}")
    assert [a.message for a in outcome.result.annotations] == ["thing"]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", []),
        ("  a\tb  ", ["a", "b"]),
        ('"a b" c', ["a b", "c"]),
        ("'a b'", ["'a", "b'"]),
        (r"a\"b", ['a"b']),
        (r'"a\\" b', ["a\\", "b"]),
        (r"C:\dir x", [r"C:\dir", "x"]),
        ('""', [""]),
        ('a"b c"d', ["ab cd"]),
        ('"say ""hi"""', ['say "hi"']),
        ("line\nbreak", ["line\nbreak"]),
    ],
)
def test_arguments_are_taken_apart_as_the_runner_does(text: str, arguments: list[str]) -> None:
    assert split_arguments(text) == arguments


def test_a_locked_image_runs_by_its_digest(house: Any, engine: ScriptedExecutor) -> None:
    digest = "sha256:" + "a" * 64
    lock = house.root / ".github" / "akashic.lock"
    lock.parent.mkdir()
    images = {"ghcr.io:5000/a/b:1": digest, "built:here": ""}
    lock.write_text(json.dumps({"version": 1, "actions": {}, "images": images}))
    outcome = house.run("- uses: docker://ghcr.io:5000/a/b:1\n- uses: docker://built:here")
    assert outcome.result.conclusion == "success", outcome.log
    assert engine.obtained == [f"ghcr.io:5000/a/b@{digest}", "built:here"]
    outcome = house.run("- uses: docker://new:1")
    assert "not in akashic.lock" in outcome.step("Pull new:1").error


def test_a_lock_file_with_a_digest_that_is_none_is_refused(house: Any) -> None:
    lock = house.root / ".github" / "akashic.lock"
    lock.parent.mkdir()
    lock.write_text('{"version": 1, "actions": {}, "images": {"a": "latest"}}')
    with pytest.raises(AkashicError, match="expected version 1"):
        house.parts()
