"""Which provider stands for which service image."""

from __future__ import annotations


def native_services() -> tuple[str, ...]:
    return ("postgres", "redis")
