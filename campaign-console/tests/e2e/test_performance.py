"""A small, bounded load by eight clients; the 95th percentile is held against a budget."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import Client

pytestmark = pytest.mark.e2e
CLIENTS = 8
REQUESTS_EACH = 30
# Generous, because shared machines are slow: the test finds what has become ten times slower.
P95_BUDGET_MS = float(os.environ.get("P95_BUDGET_MS", "1500"))


@pytest.mark.parametrize("path", ["/campaigns", "/api/campaigns"])
def test_95_of_100_answers_come_within_the_budget(member: Client, path: str) -> None:
    def one_client(_: int) -> list[float]:
        client, times_ms = Client(member.base_url, dict(member.cookies)), []
        for _ in range(REQUESTS_EACH):
            started = time.perf_counter()
            assert client.get(path).status == 200
            times_ms.append((time.perf_counter() - started) * 1000)
        return times_ms

    with ThreadPoolExecutor(CLIENTS) as threads:
        times_ms = [value for values in threads.map(one_client, range(CLIENTS)) for value in values]
    p95_ms = statistics.quantiles(times_ms, n=20)[-1]
    print(f"\n{path}: {len(times_ms)} answers, p50 {statistics.median(times_ms):.0f} ms, p95 {p95_ms:.0f} ms")
    assert p95_ms <= P95_BUDGET_MS
