"""Counters and a latency histogram in Prometheus' text format (version 0.0.4).

Kept small on purpose: three families, labels from a fixed set (method, route pattern, status), so that
no visitor can grow the number of series.
"""

from __future__ import annotations

from collections import defaultdict

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """What this process has served. All calls come from the event loop's thread."""

    def __init__(self, *, version: str, commit: str) -> None:
        self._version = version
        self._commit = commit
        self._requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS_S) + 1))
        self._sums_s: dict[str, float] = defaultdict(float)
        self._events: dict[str, int] = defaultdict(int)
        self.in_flight = 0

    def observe(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one finished request."""
        self._requests[method, route, status] += 1
        position = next((i for i, edge in enumerate(BUCKETS_S) if duration_s <= edge), len(BUCKETS_S))
        self._buckets[route][position] += 1
        self._sums_s[route] += duration_s

    def count(self, event: str) -> None:
        """Count something that the business cares about, such as `campaign_created`."""
        self._events[event] += 1

    def render(self, *, dependencies_up: dict[str, bool]) -> str:
        """All families as text. `dependencies_up`: the state of each backing service, as just checked."""
        lines = [
            "# HELP campaign_console_build_info Version and commit of this process.",
            "# TYPE campaign_console_build_info gauge",
            f'campaign_console_build_info{{version="{_escape(self._version)}",'
            f'commit="{_escape(self._commit)}"}} 1',
            "# HELP campaign_console_dependency_up Whether a backing service answers.",
            "# TYPE campaign_console_dependency_up gauge",
        ]
        for name, up in sorted(dependencies_up.items()):
            lines.append(f'campaign_console_dependency_up{{name="{_escape(name)}"}} {int(up)}')
        lines += [
            "# HELP campaign_console_requests_in_flight Requests being answered now.",
            "# TYPE campaign_console_requests_in_flight gauge",
            f"campaign_console_requests_in_flight {self.in_flight}",
            "# HELP http_requests_total Requests by method, route and status.",
            "# TYPE http_requests_total counter",
        ]
        for (method, route, status), number in sorted(self._requests.items()):
            labels = f'method="{_escape(method)}",route="{_escape(route)}",status="{status}"'
            lines.append(f"http_requests_total{{{labels}}} {number}")
        lines += [
            "# HELP http_request_duration_seconds Time to answer, by route.",
            "# TYPE http_request_duration_seconds histogram",
        ]
        for route in sorted(self._buckets):
            lines += self._histogram(route)
        lines += [
            "# HELP campaign_console_events_total Things that people did.",
            "# TYPE campaign_console_events_total counter",
        ]
        for event, number in sorted(self._events.items()):
            lines.append(f'campaign_console_events_total{{event="{_escape(event)}"}} {number}')
        return "\n".join(lines) + "\n"

    def _histogram(self, route: str) -> list[str]:
        label = f'route="{_escape(route)}"'
        lines, total = [], 0
        for edge, number in zip((*map(str, BUCKETS_S), "+Inf"), self._buckets[route], strict=True):
            total += number
            lines.append(f'http_request_duration_seconds_bucket{{{label},le="{edge}"}} {total}')
        lines.append(f"http_request_duration_seconds_sum{{{label}}} {self._sums_s[route]:.6f}")
        lines.append(f"http_request_duration_seconds_count{{{label}}} {total}")
        return lines


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
