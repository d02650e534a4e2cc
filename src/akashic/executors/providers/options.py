"""`services.<name>.options`: the options of `docker create`, as far as a process of this machine can honour
them. What has no meaning outside a container is noted, what would change the service's behaviour is refused.
"""

from __future__ import annotations

import re
import shlex

import msgspec

from akashic.executors.protocol import ExecutorError
from akashic.executors.providers.protocol import HealthCheck

_VALUED = ("--health-cmd", "--health-interval", "--health-timeout", "--health-retries",
           "--health-start-period", "--env", "-e")  # fmt: skip
_WITHOUT_EFFECT = ("--name", "--hostname", "-h", "--network-alias", "--shm-size", "--tmpfs", "--restart",
                   "--pull", "--platform", "--label", "-l", "--memory", "-m", "--cpus",
                   "--ulimit")  # fmt: skip
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class ServiceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`health` is None without any health option, `health_disabled` with `--no-healthcheck`."""

    health: HealthCheck | None = None
    health_disabled: bool = False
    env: dict[str, str] = {}
    notes: tuple[str, ...] = ()


def parse_options(service: str, text: str) -> ServiceOptions:
    """Raises ExecutorError that names the option which cannot be honoured."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ExecutorError(f"services.{service}.options: {error}: {text!r}") from None
    health = HealthCheck()
    has_health = disabled = False
    env: dict[str, str] = {}
    notes = []
    position = 0
    while position < len(words):
        option, equals, value = words[position].partition("=")
        position += 1
        if option == "--no-healthcheck":
            disabled = True
            continue
        if option not in _VALUED and option not in _WITHOUT_EFFECT:
            raise ExecutorError(
                f"services.{service}.options: the host executor cannot honour {option!r}",
                hint="remove it, or use an executor that runs containers: docker, kubernetes",
            )
        if not equals:
            if position == len(words):
                raise ExecutorError(f"services.{service}.options: {option} needs a value")
            value = words[position]
            position += 1
        if option in _WITHOUT_EFFECT:
            notes.append(f"service {service}: {option} has no effect without a container")
        elif option in ("--env", "-e"):
            name, _, content = value.partition("=")
            env[name] = content
        else:
            health = _health(service, health, option, value)
            has_health = True
    return ServiceOptions(
        health=health if has_health else None, health_disabled=disabled, env=env, notes=tuple(notes)
    )


def _health(service: str, health: HealthCheck, option: str, value: str) -> HealthCheck:
    if option == "--health-cmd":
        return msgspec.structs.replace(health, argv=("/bin/sh", "-c", value))
    if option == "--health-retries":
        if not value.isascii() or not value.isdigit():
            raise ExecutorError(f"services.{service}.options: {option}: expected a number, got {value!r}")
        return msgspec.structs.replace(health, retries=max(1, int(value)))
    seconds = _duration_s(value)
    if seconds is None:
        raise ExecutorError(
            f"services.{service}.options: {option}: expected a duration such as 10s or 1m30s, got {value!r}"
        )
    field = {
        "--health-interval": "interval_s",
        "--health-timeout": "timeout_s",
        "--health-start-period": "start_period_s",
    }[option]
    return msgspec.structs.replace(health, **{field: seconds})


def _duration_s(text: str) -> float | None:
    """A duration as Go writes it; 0 may stand without a unit."""
    if text == "0":
        return 0.0
    if not re.fullmatch(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+", text):
        return None
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)", text)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
