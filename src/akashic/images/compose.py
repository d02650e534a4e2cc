"""The services of a compose file, as far as trying an image needs them.

Source: the Compose specification (compose-spec/compose-spec, 05-services.md, 12-interpolation.md). What a
trial cannot honour (binds of this machine's folders, builds) is an error that names it; ports of this machine
are not taken, so that trials beside each other do not collide.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from akashic.errors import UsageError

COMPOSE_BYTES_MAX = 1024 * 1024
_NANOSECONDS = 1_000_000_000
_VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_]\w*)(?:(:?[-?+])([^}]*))?\}|([A-Za-z_]\w*))")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_READ = frozenset(
    {
        "image",
        "command",
        "entrypoint",
        "environment",
        "tmpfs",
        "healthcheck",
        "depends_on",
        "user",
        "working_dir",
    }
)
_NO_MATTER = frozenset(
    {"ports", "restart", "container_name", "hostname", "networks", "expose", "labels", "volumes"}
)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `needs` is name to condition (`service_started`, `service_healthy`,
    `service_completed_successfully`); `health` is the engine's form; None leaves commands to the image."""

    name: str
    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: dict[str, str] = {}
    tmpfs: tuple[str, ...] = ()
    health: dict[str, Any] | None = None
    needs: dict[str, str] = {}
    user: str = ""
    workdir: str = ""


def parse_compose(text: str, file: str, variables: Mapping[str, str]) -> tuple[Service, ...]:
    """The services in an order in which they can be started. Raises UsageError."""
    if len(text) > COMPOSE_BYTES_MAX:
        raise UsageError(f"{file}: larger than {COMPOSE_BYTES_MAX} bytes")
    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not valid YAML: {error}") from None
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict) or not services:
        raise UsageError(f"{file}: there are no services")
    found = {str(name): _service(str(name), value, file, variables) for name, value in services.items()}
    return _ordered(found, file)


def _ordered(services: Mapping[str, Service], file: str) -> tuple[Service, ...]:
    ordered: dict[str, Service] = {}
    waiting = dict(services)
    while waiting:
        ready = [name for name, service in waiting.items() if all(need in ordered for need in service.needs)]
        if not ready:
            unknown = [need for service in waiting.values() for need in service.needs if need not in services]
            reason = f"there is no service {unknown[0]!r}" if unknown else "services wait for each other"
            raise UsageError(f"{file}: depends_on: {reason}")
        for name in ready:
            ordered[name] = waiting.pop(name)
    return tuple(ordered.values())


def _service(name: str, value: object, file: str, variables: Mapping[str, str]) -> Service:
    where = f"{file}: services/{name}"
    if not isinstance(value, dict):
        raise UsageError(f"{where}: expected a mapping")
    given = _interpolate(value, variables, where)
    unknown = sorted(
        str(key) for key in given if key not in _READ | _NO_MATTER and not str(key).startswith("x-")
    )
    if unknown:
        raise UsageError(
            f"{where}: a trial cannot do {', '.join(unknown)}", hint="leave it out, or use docker compose"
        )
    binds = [item for item in given.get("volumes") or () if str(item).startswith((".", "/", "~"))]
    if binds:
        raise UsageError(f"{where}/volumes: a trial mounts no folder of this machine: {binds[0]}")
    if not given.get("image"):
        raise UsageError(f"{where}: expected an image")
    return Service(
        name=name,
        image=str(given["image"]),
        command=_words(given.get("command")),
        entrypoint=_words(given.get("entrypoint")),
        env=_environment(given.get("environment"), variables),
        tmpfs=tuple(str(item) for item in _list(given.get("tmpfs"))),
        health=_health(given.get("healthcheck"), where),
        needs=_needs(given.get("depends_on")),
        user=str(given.get("user") or ""),
        workdir=str(given.get("working_dir") or ""),
    )


def _interpolate(value: Any, variables: Mapping[str, str], where: str) -> Any:
    if isinstance(value, dict):
        return {key: _interpolate(part, variables, where) for key, part in value.items()}
    if isinstance(value, list):
        return [_interpolate(part, variables, where) for part in value]
    return _filled(value, variables, where) if isinstance(value, str) else value


def _filled(text: str, variables: Mapping[str, str], where: str) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match[1] or match[4]
        if name is None:
            return "$"
        operator, word = match[2] or "", match[3] or ""
        value = variables.get(name)
        # With a colon an empty value counts as none.
        missing = value is None or (operator.startswith(":") and not value)
        if operator.endswith("?") and missing:
            raise UsageError(f"{where}: {name} is not set{f': {word}' if word else ''}")
        if operator.endswith("-"):
            return word if missing else str(value)
        if operator.endswith("+"):
            return "" if missing else word
        return value or ""

    return _VARIABLE.sub(replace, text)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _words(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(str(word) for word in value)


def _environment(value: Any, variables: Mapping[str, str]) -> dict[str, str]:
    if isinstance(value, dict):
        pairs = {str(name): item for name, item in value.items()}
    else:
        pairs = {
            name: word if equals else None
            for name, equals, word in (str(i).partition("=") for i in value or ())
        }
    found: dict[str, str] = {}
    for name, item in pairs.items():
        if item is None:
            # A name alone takes the value from where the command runs.
            if name in variables:
                found[name] = variables[name]
        else:
            found[name] = str(item).lower() if isinstance(item, bool) else str(item)
    return found


def _needs(value: Any) -> dict[str, str]:
    if isinstance(value, dict):
        return {
            str(name): str(facts.get("condition", "service_started"))
            if isinstance(facts, dict)
            else "service_started"
            for name, facts in value.items()
        }
    return {str(name): "service_started" for name in value or ()}


def _health(value: Any, where: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if value.get("disable"):
        return {"Test": ["NONE"]}
    test = value.get("test")
    found: dict[str, Any] = {}
    if test is not None:
        found["Test"] = ["CMD-SHELL", test] if isinstance(test, str) else [str(word) for word in test]
    for key, name in (("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod")):
        if key in value:
            found[name] = int(_seconds(str(value[key]), f"{where}/healthcheck/{key}") * _NANOSECONDS)
    if "retries" in value:
        found["Retries"] = int(value["retries"])
    return found


def _seconds(text: str, where: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{where}: {text!r} is not a duration such as 10s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
