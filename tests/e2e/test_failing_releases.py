"""`akashic up` with a release that does not work: the run fails, says why, and what served goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.cli_process import steps
from tests.e2e.small_shop import SmallShop, free_ports
from tests.waiting import eventually


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SmallShop]:
    made = SmallShop(tmp_path, production=False, start_timeout_s=2)
    yield made
    made.close()


@pytest.mark.slow
def test_a_release_that_does_not_work_is_rolled_back_and_the_old_one_serves(shop: SmallShop) -> None:
    good = shop.release("Works")
    result = shop("up")
    assert result.returncode == 0, result.stdout + result.stderr
    broken = {
        "exits at once": ({"start": "exit"}, ("exit code 3", "no database for you")),
        "never answers": ({"start": "never"}, ("not healthy after 2.0 s",)),
        "answers 500": ({"status": 500}, ("expected status 200, found 500",)),
        "is slow": ({"delay": 3}, ("no answer within 0.5 s",)),
    }
    for message, (ways, reasons) in broken.items():
        commit = shop.release(message, **ways)
        result = shop("up")
        assert result.returncode == 1, (message, result.stdout, result.stderr)
        for reason in (*reasons, "rolled back"):
            assert reason in result.stdout, (message, reason, result.stdout)
        assert "✗ run" in result.stdout and "failed in" in result.stdout, message
        # The end of what is shown says why, not only that a process ended with 1.
        summary = result.stdout[
            result.stdout.index("error: staging › Run akashic deploy staging: the release") :
        ]
        assert all(reason in summary for reason in reasons), summary
        assert shop.answer("staging") == good[:12], message
        assert shop.served_commit("staging") == good, message
        newest = shop.json("history", "staging")[0]
        assert (newest["status"], newest["commit"]) == ("rolled back", commit), newest
    better = shop.release("Works again")
    assert shop("up").returncode == 0
    assert shop.answer("staging") == better[:12]
    assert shop("journal", "verify").returncode == 0


def test_a_port_that_another_process_holds_is_named_with_its_holder(shop: SmallShop) -> None:
    shop.release()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", shop.ports["staging"]))
        taken.listen()
        result = shop("up")
    assert result.returncode == 1, result.stdout
    assert f"port {shop.ports['staging']} of the environment staging is taken by" in result.stdout
    assert "pytest" in result.stdout or "python" in result.stdout
    assert shop("up").returncode == 0
    assert shop.answer("staging") == shop.git("rev-parse", "HEAD")[:12]


def test_a_second_up_at_once_ends_with_an_error_that_names_the_first(shop: SmallShop) -> None:
    waiting = "touch $AKASHIC_STATE/began; until [ -e $AKASHIC_STATE/go-on ]; do sleep 0.05; done"
    shop.workflow(steps(waiting), "deliver.yml")
    shop.release()
    first = shop.start("up")
    assert eventually(lambda: (shop.state_dir / "began").exists() or first.poll() is not None)
    assert first.poll() is None, first.communicate()
    second = shop("up")
    assert second.returncode == 1
    assert f"another `akashic up` is at work in this repository (process {first.pid})" in second.stderr
    assert "hint: wait for it to end" in second.stderr
    assert second.stdout == ""
    (shop.state_dir / "go-on").touch()
    stdout, stderr = first.communicate(timeout=60)
    assert first.returncode == 0, stdout + stderr
    assert [run["sequence"] for run in shop.json("runs")] == [1]


def test_a_receiver_that_is_dead_is_told_of_and_fails_nothing(shop: SmallShop) -> None:
    port = free_ports(1)[0]
    receiver = f"{{type: slack, name: chat, url: 'http://127.0.0.1:{port}/'}}"
    shop.write(
        "akashic.yaml",
        (shop.path / "akashic.yaml").read_text()
        + f"notifications: {{attempts_max: 2, receivers: [{receiver}]}}\n",
    )
    shop.release("Works")
    assert shop("image", "build").returncode == 0
    deployed = shop("deploy", "staging")
    assert deployed.returncode == 0, deployed.stderr
    assert "warning: notification to chat: not delivered after 2 attempts: " in deployed.stderr
