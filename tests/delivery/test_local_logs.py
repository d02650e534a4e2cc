"""What a release prints: masked before it is stored, rotated, pruned."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from akashic.delivery.local.instances import secret_texts
from akashic.delivery.local.log_writer import RotatingLog, copy
from akashic.delivery.local.logs import DEPLOYMENTS_KEPT_MAX, log_of, logs_of, open_log, prune
from akashic.delivery.local.processes import wait_gone
from akashic.runner.masking import Masker

SECRET = "canary-4711-secret"
WITH_KEY = """
environments:
  staging:
    target:
      env: {KEY: "${secrets.KEY}"}
      start_timeout_s: 4
      log_bytes_max: 65536
    strategy: {settle_s: 0}
    health: {path: /api/health, interval_s: 0.1, timeout_s: 1}
"""


def kept(
    *written: bytes, tmp_path: Path, secrets: tuple[str, ...] = (SECRET,), bytes_max: int = 10_000
) -> bytes:
    """What `copy` keeps of pieces that come one after the other."""
    reading, writing = os.pipe()
    log = tmp_path / "log"
    thread = threading.Thread(target=copy, args=(reading, RotatingLog(log, bytes_max), Masker(secrets)))
    thread.start()
    for piece in written:
        os.write(writing, piece)
        time.sleep(0.01)  # So that it is read as a piece of its own.
    os.close(writing)
    thread.join()
    os.close(reading)
    return log.read_bytes()


@pytest.mark.parametrize(
    "pieces",
    [
        (b"a canary-4711-secret b\n",),
        (b"a canary-", b"4711-secret b\n"),
        (b"a canary-4711-", b"sec", b"ret b", b"\n"),
        (b"a canary-4711-secret b",),
    ],
)
def test_a_secret_is_masked_however_it_comes(tmp_path: Path, pieces: tuple[bytes, ...]) -> None:
    assert kept(*pieces, tmp_path=tmp_path).strip() == b"a *** b"


def test_a_secret_of_several_lines_is_masked_across_pieces(tmp_path: Path) -> None:
    secret = "first line of it\nsecond line of it"
    found = kept(
        b"before\nfirst line of it\n", b"second line of it\nafter\n", tmp_path=tmp_path, secrets=(secret,)
    )
    assert found == b"before\n***\n***\nafter\n"


def test_an_endless_line_is_kept_in_pieces_with_its_secrets_masked(tmp_path: Path) -> None:
    found = kept(
        b"x" * 60_000, *[b"y" * 60_000] * 20, SECRET.encode() * 3, tmp_path=tmp_path, bytes_max=10**7
    )
    assert SECRET.encode() not in found
    assert found.count(b"y") == 1_200_000


def test_a_log_stays_below_its_limit_and_keeps_what_was_before(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "log", 100)
    for number in range(10):
        log.write(f"{number:039d}\n".encode())
    assert (tmp_path / "log").stat().st_size <= 100
    assert (tmp_path / "log.1").read_bytes().endswith(f"{7:039d}\n".encode())
    assert (tmp_path / "log").read_bytes() == f"{8:039d}\n{9:039d}\n".encode()


def test_the_writer_ends_with_those_who_print_and_shows_no_secret(tmp_path: Path) -> None:
    output, writer = open_log(tmp_path / "logs" / "d.0.log", bytes_max=1000, secrets=[SECRET])
    for file in ("cmdline", "environ"):
        assert SECRET.encode() not in Path(f"/proc/{writer.pid}/{file}").read_bytes()
    os.write(output, f"I say {SECRET}\n".encode())
    os.close(output)
    assert wait_gone(writer, 20)
    assert (tmp_path / "logs" / "d.0.log").read_text() == "I say ***\n"


def test_logs_are_found_by_deployment_and_part_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    ids = [f"{1000 + number}abc" for number in range(DEPLOYMENTS_KEPT_MAX + 5)]
    for id_ in ids:
        for part in ("0", "release"):
            log_of(tmp_path, id_, part).write_text("x")
    log_of(tmp_path, ids[0], "0").with_name(f"{ids[0]}.0.log.1").write_text("older")
    (tmp_path / "proxy.log").write_text("p")
    (tmp_path / "service-postgres.log").write_text("s")
    assert [part for part, _ in logs_of(tmp_path, ids[0])] == ["release", "0"]
    assert [path.name for path in logs_of(tmp_path, ids[0])[1][1]] == [f"{ids[0]}.0.log.1", f"{ids[0]}.0.log"]
    prune(tmp_path, keep=[ids[0]])
    left = {path.name.split(".")[0] for path in tmp_path.iterdir()}
    assert left == {ids[0], *ids[-DEPLOYMENTS_KEPT_MAX:], "service-postgres", "proxy"}


def test_a_release_that_prints_its_secret_leaves_none_in_its_logs(world, fetch):
    world.configure(WITH_KEY)
    world.secrets["KEY"] = SECRET
    done = world.deploy(world.release("1.0", says="my key is $KEY"))
    assert done.status == "promoted", done.reason
    assert fetch(world.url() + "/env/KEY") == SECRET
    logs = world.client.paths.logs("staging")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        text = log_of(logs, done.id, "0").read_text()
        if "my key is" in text:
            break
        time.sleep(0.05)
    assert "my key is ***" in text
    for path in world.state_dir.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_a_password_that_is_only_the_users_name_leaves_other_words_alone() -> None:
    env = {"A": "postgresql://console:console@127.0.0.1:5/console", "B": "redis://:4711-hidden@127.0.0.1:6/0"}
    assert secret_texts(("A", "B", "C"), env) == [env["A"], env["B"], "4711-hidden"]
