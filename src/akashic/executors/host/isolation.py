"""Placeholder description until the probe lands."""

from __future__ import annotations


def describe() -> str:
    return ""
