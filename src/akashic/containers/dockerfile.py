"""What is read from a Dockerfile before an engine builds it: its base images, the arguments it declares."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE | re.MULTILINE)
_COPY_FROM = re.compile(r"^\s*COPY\s+(?:--\S+\s+)*?--from=(\S+)\s", re.IGNORECASE | re.MULTILINE)
_ARG = re.compile(r"^\s*ARG\s+(\w+)(?:=(\S+))?", re.IGNORECASE | re.MULTILINE)


def declared_args(dockerfile: str) -> set[str]:
    """The names that `ARG` declares anywhere in a Dockerfile."""
    return {name for name, _ in _ARG.findall(dockerfile)}


def base_images(dockerfile: str, build_args: Mapping[str, str]) -> tuple[str, ...]:
    """The images that a Dockerfile starts and copies from, build arguments filled in; stages of its own left
    out."""
    values: dict[str, str] = {}
    for name, default in _ARG.findall(dockerfile):
        values.setdefault(name, _filled(default.strip("\"'"), values | dict(build_args)))
    values |= build_args
    stages: set[str] = set()
    found: list[str] = []
    for image, stage in _FROM.findall(dockerfile):
        name = _filled(image, values)
        if name.lower() not in stages and name not in ("", "scratch"):
            found.append(name)
        stages.add(stage.lower())
    # A stage may be called by its number; what an argument names no builder fills in here.
    copied = [name for name in _COPY_FROM.findall(dockerfile) if "$" not in name and not name.isdigit()]
    found += [name for name in copied if name.lower() not in stages]
    return tuple(dict.fromkeys(found))


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(
        r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))",
        lambda match: str(values.get(match[1] or match[3]) or match[2] or ""),
        text,
    )
