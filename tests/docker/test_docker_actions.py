"""Docker actions on a real engine: images, arguments, files, state, and the job around them."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.docker


def test_an_image_runs_with_args_entrypoint_and_the_job_s_files(shop: Any) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          steps:
            - run: echo from the job > note; mkdir below
            - uses: docker://{base}
              with: {entrypoint: /bin/sh, args: '-c "cat note; pwd; echo home=$HOME; touch below/new"'}
            - run: ls below; echo "label=$(hostname)"
        """
    )
    assert {"from the job", "/github/workspace", "home=/github/home", "new"} <= set(run.lines("build"))
    assert "Pull {base}".replace("{base}", shop.base) in run.text


SPEAK = """
name: speak
inputs:
  who: {default: "${{ github.actor }}"}
outputs:
  said: {description: what was said}
runs:
  using: docker
  image: Dockerfile
  env: {OWN: "for ${{ inputs.who }}"}
  args: [to, "${{ inputs.who }}"]
"""
SCRIPT = """
    echo "args=$*"; echo "own=$OWN"; echo "input=$INPUT_WHO"; echo "workspace=$GITHUB_WORKSPACE"
    echo "said=hello $2" >> "$GITHUB_OUTPUT"
    echo "LATER=of the action" >> "$GITHUB_ENV"
    echo "# From an action" >> "$GITHUB_STEP_SUMMARY"
    echo "::add-mask::swordfish"; echo "mask=swordfish"
    echo "::warning file=a.c,line=3::careful"
    test -f "$GITHUB_EVENT_PATH" && echo event=there
    echo left behind > "$GITHUB_WORKSPACE/from-action"
"""


def test_a_dockerfile_action_has_inputs_outputs_and_environment(shop: Any, make_action: Any) -> None:
    make_action("speak", SPEAK, SCRIPT)
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          steps:
            - uses: actions/checkout@v4
            - {id: a, uses: ./speak, with: {who: world}}
            - run: echo "output=${{ steps.a.outputs.said }}"; echo "later=$LATER"; cat from-action
            - {uses: ./speak}
        """
    )
    for name, value in {
        "own": "for root",
        "workspace": "/github/workspace",
        "mask": "***",
        "event": "there",
        "output": "hello world",
        "later": "of the action",
    }.items():
        assert run.value("build", name) == value, name
    assert "args=to world" in run.lines("build") and "left behind" in run.lines("build")
    assert "swordfish" not in run.text.replace("add-mask", "")
    assert run.text.count("Building docker image") == 1


def test_a_fetched_action_is_built_before_the_first_step_and_shares_state(
    shop: Any, make_action: Any
) -> None:
    metadata = """
    runs:
      using: docker
      image: Dockerfile
      pre-entrypoint: /pre
      post-entrypoint: /post
      post-if: success()
    """
    dockerfile = (
        "FROM {base}\nCOPY entrypoint /entrypoint\n"
        "RUN printf '#!/bin/sh\\necho pre=ran; echo mark=one >> \"$GITHUB_STATE\"\\n' > /pre \\\n"
        " && printf '#!/bin/sh\\necho post=$STATE_mark$STATE_more\\n' > /post && chmod +x /pre /post\n"
        'ENTRYPOINT ["/entrypoint"]\n'
    )
    script = 'echo main=$STATE_mark; echo "more=two" >> "$GITHUB_STATE"'
    make_action("elsewhere", metadata, script, dockerfile)
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          steps:
            - run: echo first=step
            - uses: octo/stateful@v1
        """,
        *("--local-repository", f"octo/stateful@v1={shop.cli.path}/elsewhere"),
    )
    shown = [line for line in run.lines("build") if line.split("=")[0] in ("pre", "first", "main", "post")]
    assert shown == ["pre=ran", "first=step", "main=one", "post=onetwo"]
    assert run.text.index("Build octo/stateful@v1") < run.text.index("first=step")


def test_a_lone_dockerfile_and_a_composite_action_that_uses_images(shop: Any, make_action: Any) -> None:
    make_action("lone", "", 'echo "lone=$*"')
    shop.write(
        "outer/action.yml",
        """
        outputs: {answer: {value: "${{ steps.inner.outputs.answer }}"}}
        runs:
          using: composite
          steps:
            - {uses: ./lone, with: {args: one two}}
            - id: inner
              uses: docker://{base}
              env: {GIVEN: "${{ inputs.none }}by the composite"}
              with:
                entrypoint: /bin/sh
                args: -c "echo given=$GIVEN; echo answer=42 >> $GITHUB_OUTPUT"
        """,
    )
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          container: {base}
          steps:
            - uses: actions/checkout@v4
            - {id: a, uses: ./outer}
            - run: echo "answer=${{ steps.a.outputs.answer }}"
        """
    )
    assert run.value("build", "lone") == "one two"
    assert run.value("build", "given") == "by the composite" and run.value("build", "answer") == "42"


def test_an_action_reaches_the_job_s_services(shop: Any, redis_image: str) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          container: {base}
          services: {cache: {image: REDIS, options: --health-cmd "redis-cli ping" --health-interval 100ms}}
          steps:
            - uses: docker://REDIS
              with: {entrypoint: /bin/sh, args: '-c "echo answer=$(redis-cli -h cache ping)"'}
        """.replace("REDIS", redis_image)
    )
    assert run.value("build", "answer") == "PONG"


def test_an_action_as_another_user_writes_its_files(shop: Any, make_action: Any) -> None:
    make_action(
        "user",
        "runs: {using: docker, image: Dockerfile}",
        'echo "user=$(id -u)"; echo "x=written" >> "$GITHUB_OUTPUT"; touch mine',
        'FROM {base}\nCOPY entrypoint /entrypoint\nUSER 1001\nENTRYPOINT ["/entrypoint"]\n',
    )
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          container: {image: "{base}", options: --user 1001}
          steps:
            - uses: actions/checkout@v4
            - {id: a, uses: ./user}
            - run: ls mine; echo "x=${{ steps.a.outputs.x }}"
        """
    )
    assert run.value("build", "user") == "1001" and run.value("build", "x") == "written"


def test_failures_say_what_is_wrong(shop: Any, make_action: Any) -> None:
    make_action("fails", "runs: {using: docker, image: Dockerfile}", "echo about to fail; exit 7")
    make_action(
        "broken", "runs: {using: docker, image: Dockerfile}", "", "FROM {base}\nRUN echo no; exit 9\n"
    )
    make_action("based", "runs: {using: docker, image: Dockerfile}", "", "FROM localhost:9/none:1\n")
    run = shop.run(
        """
        based:
          runs-on: ubuntu-latest
          steps: [{uses: actions/checkout@v4}, {uses: ./based}]
        fails:
          runs-on: ubuntu-latest
          steps:
            - uses: actions/checkout@v4
            - {uses: ./fails, id: a}
            - {run: 'echo "outcome=${{ steps.a.outcome }}"', if: always()}
        broken:
          runs-on: ubuntu-latest
          steps: [{uses: actions/checkout@v4}, {uses: ./broken}]
        missing:
          runs-on: ubuntu-latest
          steps: [{run: echo never=run}, {uses: "docker://akashic-test/nothing:9"}]
        """,
        code=1,
    )
    assert run.value("fails", "outcome") == "failure" and "exit code 7" in run.text
    assert any("RUN echo no" in line for line in run.lines("broken"))
    assert "the engine has no image localhost:9/none:1, and it must not be pulled" in run.text
    assert "akashic-test/nothing:9" in run.text and "never=run" not in run.lines("missing")


def test_an_action_ends_with_its_time_and_with_the_run(shop: Any, make_action: Any) -> None:
    make_action(
        "hang",
        "runs: {using: docker, image: Dockerfile}",
        "trap 'echo asked=to end; exit 1' INT TERM; echo started=yes; sleep 600 & wait",
    )
    make_action("slow", "runs: {using: docker, image: Dockerfile}", "", "FROM {base}\nRUN sleep 60\n")
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          steps: [{uses: actions/checkout@v4}, {uses: ./hang, timeout-minutes: 0.03}]
        image:
          runs-on: ubuntu-latest
          steps:
            - uses: actions/checkout@v4
            - {uses: ./slow, id: slow, timeout-minutes: 0.01, continue-on-error: true}
            - run: echo "outcome=${{ steps.slow.outcome }}"
        """,
        code=1,
    )
    assert "has timed out after 0.03 minutes" in run.text
    assert "has timed out after 0.01 minutes" in run.text, "the time holds for the making of the image, too"
    assert run.value("image", "outcome") == "failure"
    process = shop.start(
        """
        build:
          runs-on: ubuntu-latest
          steps: [{uses: actions/checkout@v4}, {uses: ./hang}]
        """
    )
    for line in process.stdout:
        if line.rstrip().endswith("| started=yes"):
            break
    run = shop.interrupt(process)
    assert run.code == 130 and "cancelled" in run.text


def test_the_host_says_who_runs_images(shop: Any) -> None:
    shop.cli.workflow("on: push\njobs: {build: {runs-on: x, steps: [{uses: 'docker://alpine'}]}}\n")
    shop.cli.commit("host")
    done = shop.cli("run", "-v", "--sandbox", "off")
    assert done.returncode == 1 and "--executor docker" in done.stdout + done.stderr
