"""Figures of delivery: requests dropped in switches, and the time of a rollback. Run: python
bench/delivery.py"""

from __future__ import annotations

import http.client
import importlib.util
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))
SWITCHES = 20
CLIENTS = 16
PAUSE_S = 0.004


def main() -> int:
    spec = importlib.util.spec_from_file_location("worlds", ROOT / "tests" / "delivery" / "conftest.py")
    assert spec is not None and spec.loader is not None
    worlds = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worlds)
    with tempfile.TemporaryDirectory() as folder:
        world = worlds.World(Path(folder))
        try:
            measure(world)
        finally:
            world.close()
    return 0


def measure(world) -> None:  # type: ignore[no-untyped-def]
    releases = [world.release("1.0"), world.release("2.0")]
    world.deploy(releases[0])
    host = world.url().removeprefix("http://")
    stop = threading.Event()
    counts = {"answered": 0, "failed": 0}
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(host, timeout=10)
        while not stop.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                result = "answered" if answer.status == 200 else "failed"
            except Exception:
                result = "failed"
                connection.close()
            with lock:
                counts[result] += 1
            time.sleep(PAUSE_S)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in clients:
        thread.start()
    started = time.monotonic()
    for number in range(SWITCHES):
        done = world.deploy(releases[(number + 1) % 2])
        assert done.status == "promoted", done.reason
    spent_s = time.monotonic() - started
    stop.set()
    for thread in clients:
        thread.join()
    print(f"{SWITCHES} switches under {CLIENTS} keep-alive clients in {spent_s:.1f} s:")
    print(f"  {counts['answered']} requests answered, {counts['failed']} failed")
    started = time.monotonic()
    wall = time.time()
    done = world.rollback()
    print(f"rollback: {done.applied_at - wall:.2f} s until the old release serves,")
    print(f"  {time.monotonic() - started:.2f} s until it is checked and promoted")


if __name__ == "__main__":
    raise SystemExit(main())
