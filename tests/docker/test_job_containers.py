"""Jobs in containers: what GitHub's "Running jobs in a container" promises."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.docker


def test_a_job_runs_in_the_image_of_its_label(shop: Any) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          steps:
            - run: echo "where=$PWD"; echo "shell=${BASH_VERSION:+bash}"; cat /etc/os-release
            - uses: actions/checkout@v4
            - run: |
                echo "subject=$(git log -1 --format=%s)"
                echo "status=$(git status --porcelain)"
        """
    )
    assert run.value("build", "where") == "/__w/app/app"
    assert run.value("build", "shell") == "bash"
    assert "VERSION_CODENAME=bookworm" in run.lines("build")
    assert run.value("build", "subject") == "run" and run.value("build", "status") == ""


def test_a_label_without_an_image_is_told_what_to_do(shop: Any) -> None:
    run = shop.run("build: {runs-on: ubuntu-latest, steps: [{run: ls}]}", mapped=False, code=1)
    assert "no image stands for" in run.text and "-P ubuntu-latest=" in run.text
    shop.write("akashic.yaml", "labels: {Ubuntu-Latest: '{base}'}\n")
    run = shop.run("build: {runs-on: ubuntu-latest, steps: [{run: echo a=b}]}", mapped=False)
    assert run.value("build", "a") == "b"


def test_a_label_may_stand_for_this_machine(shop: Any) -> None:
    run = shop.run(
        """
        here: {runs-on: metal, steps: [{run: 'echo "where=$PWD"'}]}
        there: {runs-on: ubuntu-latest, steps: [{run: 'echo "where=$PWD"'}]}
        """,
        *("-P", "metal=-self-hosted"),
    )
    assert run.value("there", "where") == "/__w/app/app"
    assert run.value("here", "where").startswith(str(shop.cli.path))


def test_jobs_that_deploy_run_on_this_machine_by_a_variable_of_akashic_yaml(shop: Any) -> None:
    shop.write(
        "akashic.yaml",
        "vars: {DELIVERY_RUNNER: delivery}\nlabels: {ubuntu-latest: '{base}', delivery: -self-hosted}\n",
    )
    run = shop.run(
        """
        test: {runs-on: ubuntu-latest, steps: [{run: 'echo "akashic=$(command -v akashic)"'}]}
        deploy:
          runs-on: ${{ vars.DELIVERY_RUNNER || 'ubuntu-latest' }}
          steps: [{run: 'echo "akashic=$(command -v akashic)"'}]
        """,
        mapped=False,
    )
    assert run.value("test", "akashic") == ""
    assert run.value("deploy", "akashic").endswith("/akashic")


def test_a_container_has_its_environment_volumes_and_options(shop: Any, tmp_path: Any) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("kept=on this machine\n")
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          env: {FROM: data}
          strategy: {matrix: {tag: [1]}}
          container:
            image: akashic-test/base:${{ matrix.tag }}
            env: {MODE: "of ${{ matrix.tag }}", PATH_OF: "${{ github.ref }}"}
            volumes: ["FOLDER/${{ 'data' }}:/data:ro", "named:/named", /anonymous]
            options: --hostname worker --cpus 1 --user 1001 --add-host db.test:10.9.8.7
          steps:
            - run: |
                echo "mode=$MODE"; echo "path_of=$PATH_OF"; cat /data/file
                echo "host=$(cat /proc/sys/kernel/hostname)"; echo "user=$(id -u)"
                touch /named/x 2>&1 || true; ls -d /anonymous; grep db.test /etc/hosts
                touch /data/file 2>/dev/null || echo readonly=yes
                echo "id=${{ job.container.id }}"; echo "network=${{ job.container.network }}"
        """.replace("FOLDER", str(tmp_path))
    )
    assert run.value("build (1)", "mode") == "of 1"
    assert run.value("build (1)", "path_of") == "refs/heads/main"
    assert run.value("build (1)", "kept") == "on this machine"
    assert run.value("build (1)", "host") == "worker" and run.value("build (1)", "user") == "1001"
    assert run.value("build (1)", "readonly") == "yes"
    assert len(run.value("build (1)", "id")) == 64 and run.value("build (1)", "network")
    assert any(line.startswith("10.9.8.7") for line in run.lines("build (1)"))


def test_contexts_files_and_paths_are_those_of_a_container_on_github(shop: Any) -> None:
    shop.write("package-lock.json", "{}")
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          container: {base}
          defaults: {run: {working-directory: below}}
          steps:
            - uses: actions/checkout@v4
            - {run: mkdir below, working-directory: .}
            - id: facts
              run: |
                echo "cwd=$PWD"; echo "home=$HOME"; echo "temp=$RUNNER_TEMP"; echo "tools=$RUNNER_TOOL_CACHE"
                echo "workspace=${{ github.workspace }} $GITHUB_WORKSPACE"
                echo "event=$GITHUB_EVENT_PATH $(grep -c refs/heads/main "$GITHUB_EVENT_PATH")"
                echo "shell=${BASH_VERSION:-sh}"
                echo "hash=${{ hashFiles('package-lock.json') }}"
                echo "word=given" >> "$GITHUB_OUTPUT"; echo "LATER=exported" >> "$GITHUB_ENV"
                mkdir -p /opt/tool && printf '#!/bin/sh\\necho tool=found\\n' > /opt/tool/mine
                chmod +x /opt/tool/mine; echo /opt/tool >> "$GITHUB_PATH"
                echo '# Summary' >> "$GITHUB_STEP_SUMMARY"
            - run: mine; echo "later=$LATER ${{ steps.facts.outputs.word }}"
            - {shell: bash, run: 'echo "bash=${BASH_VERSION:+yes}"'}
            - {shell: python, run: 'import os; print("python=" + os.getcwd())'}
        """
    )
    for name, value in {
        "cwd": "/__w/app/app/below",
        "home": "/github/home",
        "temp": "/__w/_temp",
        "tools": "/__t",
        "workspace": "/__w/app/app /__w/app/app",
        "event": "/github/workflow/event.json 1",
        "shell": "sh",
        "tool": "found",
        "later": "exported given",
        "bash": "yes",
        "python": "/__w/app/app/below",
    }.items():
        assert run.value("build", name) == value, name
    assert len(run.value("build", "hash")) == 64


def test_users_that_are_not_root_own_their_job(shop: Any, non_root_image: str) -> None:
    run = shop.run(
        f"""
        build:
          runs-on: ubuntu-latest
          container: {non_root_image}
          steps:
            - uses: actions/checkout@v4
            - {{id: a, run: 'echo "user=$(id -u)"; touch new ~/mine; echo "x=written" >> "$GITHUB_OUTPUT"'}}
            - run: |
                echo "status=$(git status --porcelain)"; echo "x=${{{{ steps.a.outputs.x }}}}"
                mkdir -p deep/er && chmod 700 deep && touch deep/er/file
        """
    )
    assert run.value("build", "user") == "1001"
    assert run.value("build", "status") == "?? new" and run.value("build", "x") == "written"


def test_services_are_reached_by_their_names_from_a_container(shop: Any, redis_image: str) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          container: {base}
          services:
            cache:
              image: REDIS
              ports: [6379, "6390:6379"]
              options: >-
                --health-cmd "redis-cli ping" --health-interval 100ms --health-retries 50
            off: {image: "${{ github.nothing }}"}
          steps:
            - shell: python
              run: |
                import socket
                with socket.create_connection(("cache", 6379)) as connection:
                    connection.sendall(b"PING\\r\\n")
                    print("answer=" + connection.recv(10).decode().strip())
            - run: |
                echo "port=${{ job.services.cache.ports[6379] }}"; echo "id=${{ job.services.cache.id }}"
                echo "same=${{ job.services.cache.network == job.container.network }}"
        """.replace("REDIS", redis_image)
    )
    assert run.value("build", "answer") == "+PONG"
    assert run.value("build", "port").isdigit() and len(run.value("build", "id")) == 64
    assert run.value("build", "same") == "true"


def test_services_are_on_localhost_without_a_container(shop: Any, redis_image: str) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          services: {cache: {image: REDIS, ports: ["6379:6379"]}}
          steps:
            - shell: python
              env: {PORT: "${{ job.services.cache.ports['6379'] }}"}
              run: |
                import os, socket, time
                for attempt in range(100):
                    try:
                        connection = socket.create_connection(("localhost", int(os.environ["PORT"])))
                        connection.sendall(b"PING\\r\\n")
                        answer = connection.recv(10)
                        if answer:
                            break
                    except OSError:
                        pass
                    time.sleep(0.05)
                print("answer=" + answer.decode().strip())
        """.replace("REDIS", redis_image)
    )
    assert run.value("build", "answer") == "+PONG"


def test_a_failing_step_fails_the_job_and_the_log_of_services_is_shown(shop: Any, redis_image: str) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          services:
            cache: {image: REDIS, options: --health-cmd "redis-cli ping" --health-interval 100ms}
          steps:
            - run: exit 3
            - {run: 'echo cleaned=up', if: failure()}
        """.replace("REDIS", redis_image),
        code=1,
    )
    assert run.value("build", "cleaned") == "up"
    assert "exit code 3" in run.text and "Ready to accept connections" in run.text


def test_a_job_that_is_cancelled_leaves_nothing(shop: Any, redis_image: str) -> None:
    process = shop.start(
        """
        build:
          runs-on: ubuntu-latest
          container: {image: akashic-test/base:1, volumes: ["kept:/kept"]}
          services: {cache: {image: REDIS}}
          steps:
            - run: echo ready; sleep 600
            - {run: 'echo cleanup=ran', if: cancelled()}
        """.replace("REDIS", redis_image)
    )
    shown = ""
    for line in process.stdout:
        shown += line
        if line.rstrip().endswith("| ready"):
            break
    run = shop.interrupt(process)
    assert run.code == 130, shown + run.text
    assert run.value("build", "cleanup") == "ran"


def test_what_a_killed_run_left_goes_with_the_next_whatever_runs_its_jobs(
    shop: Any, redis_image: str
) -> None:
    process = shop.start(
        """
        build:
          runs-on: ubuntu-latest
          services: {cache: {image: akashic-test/redis:1}}
          steps: [{run: echo here; sleep 300}]
        """
    )
    while "| here" not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    process.wait()
    shop.cli.workflow("on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n")
    shop.cli.commit("other")
    result = shop.cli("run", "push")
    assert result.returncode == 0, result.stdout + result.stderr
    shop.nothing_is_left()


def test_a_javascript_action_runs_in_a_container_without_node(shop: Any) -> None:
    shop.write(
        "js/action.yml", "runs: {using: node20, main: main.js, post: post.js}\ninputs: {who: {default: you}}"
    )
    shop.write(
        "js/main.js",
        """
        const fs = require('fs');
        console.log(`in=${fs.readFileSync('/etc/os-release', 'utf8').includes('Debian')}`);
        console.log(`who=${process.env.INPUT_WHO} ${__dirname}`);
        fs.appendFileSync(process.env.GITHUB_OUTPUT, 'result=done\\n');
        fs.appendFileSync(process.env.GITHUB_STATE, 'kept=state\\n');
        """,
    )
    shop.write("js/post.js", "console.log(`post=${process.env.STATE_kept}`)")
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          container: {base}
          steps:
            - uses: actions/checkout@v4
            - {id: js, uses: ./js}
            - run: echo "result=${{ steps.js.outputs.result }}"
            - uses: octo/js@v1
        """,
        *("--local-repository", f"octo/js@v1={shop.cli.path}/js"),
    )
    assert run.value("build", "in") == "true" and run.value("build", "result") == "done"
    assert "who=you /__w/app/app/js" in run.lines("build")
    assert "who=you /__w/_actions/octo/js/v1" in run.lines("build")
    assert run.value("build", "post") == "state"


def test_artifacts_and_caches_of_a_container_are_kept(shop: Any) -> None:
    run = shop.run(
        """
        one:
          runs-on: ubuntu-latest
          container: {base}
          steps:
            - run: mkdir -p out ~/.tool && echo "from=one" > out/file && echo "cached=yes" > ~/.tool/x
            - uses: actions/upload-artifact@v4
              with: {name: out, path: out}
            - {uses: actions/cache/save@v4, with: {path: ~/.tool, key: tool}}
        two:
          needs: one
          runs-on: ubuntu-latest
          container: {base}
          steps:
            - {uses: actions/download-artifact@v4, with: {name: out, path: got}}
            - {uses: actions/cache/restore@v4, with: {path: ~/.tool, key: tool}}
            - run: cat got/file ~/.tool/x
        """
    )
    assert run.value("two", "from") == "one" and run.value("two", "cached") == "yes"


def test_python_is_set_up_in_a_container(shop: Any) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          container: {base}
          steps:
            - {uses: actions/setup-python@v5, with: {python-version: 3.x}, id: a}
            - run: |
                echo "python=$(command -v python)"
                echo "found=$(python -c 'import sys; print(sys.base_prefix)')"
                echo "pip=$(python -m pip --version | cut -c1-4)"
                echo "version=${{ steps.a.outputs.python-version }}"; echo "own=$(/usr/bin/python3 --version)"
        """
    )
    # The image's own interpreter, and none of this machine's.
    version = run.value("build", "version")
    assert run.value("build", "own") == f"Python {version}"
    assert run.value("build", "python") == f"/__w/_temp/_python/{version}/x64/bin/python"
    assert run.value("build", "found") == "/usr" and run.value("build", "pip") == "pip "


def test_nothing_of_this_machine_is_in_a_container(shop: Any) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          steps:
            - run: |
                ls -l /var/run/docker.sock /run/docker.sock 2>/dev/null && echo socket=there || echo socket=no
                echo "variables=$(env | grep -c '^AKASHIC_STATE\\|^AKASHIC_ROOT' || true)"
        """
    )
    assert run.value("build", "socket") == "no" and run.value("build", "variables") == "0"


def test_the_options_of_the_command_line_hold_for_jobs_that_give_none(shop: Any) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          steps:
            - run: |
                echo "host=$(cat /proc/sys/kernel/hostname)"
                chown 5:5 /tmp 2>/dev/null && echo chown=can || echo chown=cannot
        options:
          runs-on: ubuntu-latest
          container: {image: "{base}", options: --hostname own}
          steps: [{run: 'echo "host=$(cat /proc/sys/kernel/hostname)"'}]
        """,
        *("--container-options", "--hostname given", "--container-cap-drop", "CHOWN"),
        *("--container-architecture", "linux/amd64"),
    )
    assert run.value("build", "host") == "given" and run.value("options", "host") == "own"
    assert run.value("build", "chown") == "cannot"


def test_privileged_containers_are_made_where_the_engine_may(shop: Any) -> None:
    run = shop.run(
        """
        build:
          runs-on: ubuntu-latest
          steps:
            - run: mount -t tmpfs none /mnt && echo job=privileged
            - uses: docker://{base}
              with: {entrypoint: /bin/sh, args: '-c "mount -t tmpfs none /mnt && echo action=privileged"'}
        """,
        "--privileged",
        code=None,
    )
    if "unable to apply caps" in run.text:
        pytest.skip("this engine was asked for a privileged container, and has no right to make one")
    assert run.value("build", "job") == "privileged" and run.value("build", "action") == "privileged"


def test_another_attempt_runs_in_the_same_images(shop: Any) -> None:
    shop.run("build: {runs-on: ubuntu-latest, steps: [{run: test -e /nowhere}]}", code=1)
    again = shop.cli("rerun", "--failed", "--pull-policy", "never")
    assert "Executor: docker" in again.stdout and "no image stands for" not in again.stdout
    assert again.returncode == 1
