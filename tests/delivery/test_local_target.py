"""The local target end to end: real processes behind a real proxy."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.delivery.local.ledger import BOOT_ID
from akashic.delivery.local.processes import marked
from akashic.delivery.service import Origin
from tests.waiting import eventually

SHORT = """
environments:
  staging:
    target: {start_timeout_s: 1.5, drain_timeout_s: 2, env: {}}
    strategy: {settle_s: 0}
    health: {path: /api/health, interval_s: 0.1, timeout_s: 0.4}
"""


def test_a_release_is_deployed_and_answers(world, fetch):
    done = world.deploy(world.release("1.0"))
    assert done.status == "promoted", done.reason
    assert fetch(world.url()) == "1.0"


def test_the_release_before_serves_again_after_a_rollback(world, fetch):
    world.deploy(world.release("1.0"))
    world.deploy(world.release("2.0"))
    assert fetch(world.url()) == "2.0"
    done = world.rollback()
    assert done.status == "promoted", done.reason
    assert fetch(world.url()) == "1.0"


def serves_the_old_one(world, fetch, **ways):
    """Deploy 1.0, then a release that misbehaves: 1.0 keeps serving. The failed deployment."""
    assert world.deploy(world.release("1.0")).status == "promoted"
    found = world.deploy(world.release("2.0", **ways))
    assert found.status == "rolled back", found.status
    assert fetch(world.url()) == "1.0"
    assert world.messages[-1].kind == "rollback"
    return found


def test_a_release_that_exits_at_once_is_rolled_back_with_its_last_words(world, fetch):
    found = serves_the_old_one(world, fetch, start="exit")
    assert "no database for you" in found.reason
    assert "exit code 3" in found.reason


def test_a_release_built_with_an_engine_is_refused_with_what_to_do(world, fetch):
    found = serves_the_old_one(world, fetch, built_with_an_engine=True)
    assert "akashic image build --engine none" in found.reason


def test_a_release_that_answers_500_is_rolled_back(world, fetch):
    world.configure(SHORT)
    assert "expected status 200, found 500" in serves_the_old_one(world, fetch, start="500").reason


def test_a_release_that_never_answers_is_rolled_back(world, fetch):
    world.configure(SHORT)
    assert "not healthy after 1.5 s" in serves_the_old_one(world, fetch, start="never").reason


def test_a_release_that_is_too_slow_is_rolled_back(world, fetch):
    world.configure(SHORT)
    assert "no answer within 0.4 s" in serves_the_old_one(world, fetch, delay=3).reason


def test_a_failed_migration_stops_the_release_before_it_starts(world, fetch):
    world.configure(SHORT.replace("env: {}", "release_command: [python3, migrate.py]"))
    found = serves_the_old_one(world, fetch, migrate=4)
    assert "failed with exit code 4" in found.reason
    assert "migrating" in found.reason


def test_a_release_that_falls_ill_while_it_settles_is_rolled_back(world, fetch):
    world.configure(SHORT.replace("settle_s: 0", "settle_s: 60"))
    deploying = world.deploying(world.release("2.0"))
    assert eventually(lambda: [one.status for one in world.deployments.history("staging")] == ["verified"])
    fetch(world.url() + "/fall-ill")
    found = deploying.result()
    assert found.status == "rolled back"
    assert "did not settle" in found.reason


def test_a_failed_smoke_check_is_found_before_the_switch(world, fetch):
    world.configure(SHORT + "    smoke: [{name: greeting, path: /, contains: '1.'}]\n")
    found = serves_the_old_one(world, fetch)
    assert "before the switch" in found.reason
    assert not found.applied_at


def test_a_missing_secret_is_named_before_anything_starts(world):
    world.configure(SHORT.replace("env: {}", 'env: {KEY: "${secrets.KEY}"}'))
    found = world.deploy(world.release("1.0"))
    assert found.status == "rolled back"
    assert "the secret KEY of the environment staging is not set" in found.reason


def test_a_secret_reaches_the_release_and_nothing_on_disk(world, fetch):
    world.configure(SHORT.replace("env: {}", 'env: {KEY: "${secrets.KEY}"}'))
    world.secrets["KEY"] = "canary-4711"
    world.deploy(world.release("1.0"))
    assert fetch(world.url() + "/env/KEY") == "canary-4711"
    for path in world.state_dir.rglob("*"):
        if path.is_file():
            assert b"canary-4711" not in path.read_bytes(), path


def test_a_taken_port_is_said_with_who_holds_it(world):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        world.configure(SHORT.replace("env: {}", f"port: {port}"))
        found = world.deploy(world.release("1.0"))
    assert f"port {port} of the environment staging is taken by" in found.reason
    assert f"process {os.getpid()}" in found.reason


def test_the_port_of_an_environment_is_remembered(world):
    world.deploy(world.release("1.0"))
    before = world.url()
    world.deployments.stop("staging")
    world.deploy(world.release("2.0"))
    assert world.url() == before


def test_an_instance_that_crashes_is_started_again(world, fetch):
    world.deploy(world.release("1.0"))
    first = fetch(world.url() + "/pid")
    os.kill(int(first), signal.SIGKILL)
    assert eventually(lambda: fetch(world.url() + "/pid") != first)


def test_a_killed_supervisor_is_succeeded_and_nothing_stops_serving(world, fetch):
    world.deploy(world.release("1.0"))
    url, pid = world.url(), fetch(world.url() + "/pid")
    os.kill(world.client.ask({"op": "ping"}), signal.SIGKILL)
    assert fetch(url + "/pid") == pid
    world.client.ensure_running()
    assert fetch(url + "/pid") == pid
    assert world.deploy(world.release("2.0")).status == "promoted"
    assert fetch(url) == "2.0"


def test_a_supervisor_killed_while_it_prepares_leaves_no_orphan(world, fetch):
    world.deploy(world.release("1.0"))
    id_ = world.deployments.request("staging", world.release("2.0", start="never"), Origin(by="eve"))
    found = []
    thread = threading.Thread(
        target=lambda: found.append(world.deployments.follow("staging", id_, Cancellation()))
    )
    thread.start()
    mark = str(world.state_dir.resolve()) + "/staging/" + id_
    assert eventually(lambda: bool(marked(mark)))
    os.kill(world.client.ask({"op": "ping"}), signal.SIGKILL)
    thread.join(timeout=30)
    assert found and found[0].status == "rolled back"
    assert not marked(mark)
    assert fetch(world.url()) == "1.0"


def test_switches_drop_no_request_of_keep_alive_clients(world):
    releases = [world.release("1.0"), world.release("2.0")]
    world.deploy(releases[0])
    host = world.url().removeprefix("http://")
    stop, failed, answered = threading.Event(), [], []

    def client() -> None:
        connection = http.client.HTTPConnection(host, timeout=10)
        while not stop.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answered.append((answer.status, answer.read()))
            except Exception as error:
                failed.append(repr(error))
                return
            time.sleep(0.005)

    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    for number in range(4):
        assert world.deploy(releases[(number + 1) % 2]).status == "promoted"
    stop.set()
    for thread in clients:
        thread.join()
    assert failed == []
    assert {status for status, _ in answered} == {200}
    assert {body for _, body in answered} == {b"1.0", b"2.0"}


def test_requests_under_way_are_finished_by_the_release_that_accepted_them(world, fetch):
    world.deploy(world.release("1.0"))
    answers = []
    url = world.url()
    thread = threading.Thread(target=lambda: answers.append(fetch(url + "/held")))
    thread.start()
    data = Path(fetch(url + "/env/DATA"))
    assert eventually(lambda: (data / "held").exists())
    assert world.deploy(world.release("2.0")).status == "promoted"
    assert (fetch(url), answers) == ("2.0", [])
    (data / "let-go").touch()
    thread.join()
    assert answers == ["1.0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_release_does_not_run_as_root(world, fetch):
    world.deploy(world.release("1.0"))
    assert fetch(world.url() + "/user") == "1001"


def started_again(world):
    id_ = world.deployments.request_start("staging", Origin(by="eve"))
    return world.deployments.follow("staging", id_, Cancellation())


def test_what_was_stopped_is_started_again_as_it_was_promoted(world, fetch):
    world.deploy(world.release("1.0"))
    world.deploy(world.release("2.0"))
    world.deployments.stop("staging")
    assert world.deployments.status("staging").problems == ("stopped",)
    done = started_again(world)
    assert (done.status, done.approved_by) == ("promoted", ()), done.reason
    assert fetch(world.url()) == "2.0"
    # A way back leads to what was before, not to the same release.
    assert world.rollback().request.release.version == "1.0"


def test_after_a_restart_of_the_machine_status_says_what_is_down_and_start_brings_it_back(world, fetch):
    """The boot is another one, and nothing that ran lives."""
    world.deploy(world.release("1.0"))
    supervisor = world.client.ask({"op": "ping"})
    for pid in [supervisor, *marked(str(world.state_dir.resolve()) + "/")]:
        os.kill(pid, signal.SIGKILL)
    state = world.client.paths.state_file
    text = state.read_text()
    boot = BOOT_ID.read_text().strip()
    assert boot in text
    state.write_text(text.replace(boot, "another-boot"))
    world.deployments.recover()
    assert world.deployments.status("staging").problems == ("down: akashic start staging",)
    assert not world.deployments.runs("staging")
    done = started_again(world)
    assert done.status == "promoted", done.reason
    assert world.deployments.runs("staging")
    assert fetch(world.url()) == "1.0"
