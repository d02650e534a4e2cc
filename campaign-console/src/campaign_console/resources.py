"""Where migrations and seed data lie: inside the installed package, or beside `src/` in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """The folder `migrations` or `seed`. Raises FileNotFoundError when the installation lacks it."""
    for place in (_PACKAGE / name, _PACKAGE.parent.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"this installation has no folder {name!r}; looked beside {_PACKAGE}")
