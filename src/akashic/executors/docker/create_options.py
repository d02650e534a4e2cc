"""`container.options` and `services.<name>.options`: the options of `docker create`, as fields of the
engine's API.

Source: the reference of `docker container create`; GitHub's "Workflow syntax" (`options`), which forbids
`--network` and `--entrypoint`. What is not in the tables below is refused, so nothing is silently lost.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from akashic.executors.protocol import ExecutorError
from akashic.executors.providers.protocol import HealthCheck

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_FORBIDDEN = {
    "--network": "GitHub does not support it: all containers of a job are in the job's own network",
    "--net": "GitHub does not support it: all containers of a job are in the job's own network",
    "--entrypoint": "GitHub does not support it; a service has `entrypoint:`",
    "--pid": "the job's processes could not be ended with it",
    "--cgroupns": "the job could leave its limits",
    "--cgroup-parent": "the job could leave its limits",
    "--volumes-from": "it names a container that the job does not own",
    "--link": "services are reached by their names",
    "--env-file": "it would read a file of this machine; use `env:`",
    "--label-file": "it would read a file of this machine; use --label",
    "--cidfile": "it would write a file of this machine",
    "--uts": "the job would rename this machine",
}
_WITHOUT_EFFECT_VALUED = ("--name", "--restart", "--pull", "--detach-keys", "--log-driver", "--log-opt",
                          "--stop-timeout")  # fmt: skip
_WITHOUT_EFFECT = ("--rm", "--tty", "-t", "--interactive", "-i", "--disable-content-trust", "--quiet", "-q",
                   "--sig-proxy", "-it", "-ti")  # fmt: skip


@dataclass(slots=True)
class CreateOptions:
    """`config` and `host` are fields of the API's container and HostConfig; `volumes` and `ports` are as
    written; `health` is None unless an option changes it, `health_disabled` says `--no-healthcheck`."""

    config: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    health: HealthCheck | None = None
    health_disabled: bool = False
    platform: str = ""
    mac_address: str = ""
    notes: list[str] = field(default_factory=list)


class _Wrong(Exception):
    """An option's value is not valid; the message says what was expected."""


def parse_create_options(where: str, text: str) -> CreateOptions:
    """Read the options; `where` names them in messages. Raises ExecutorError."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ExecutorError(f"{where}: {error}: {text!r}") from None
    found = CreateOptions()
    position = 0
    while position < len(words):
        option, value = _split(words[position])
        position += 1
        if option in _FORBIDDEN:
            raise ExecutorError(f"{where}: {option} is not possible: {_FORBIDDEN[option]}")
        if option in _WITHOUT_EFFECT:
            continue
        if option in _FLAGS:
            if value not in (None, "true", "false"):
                raise ExecutorError(f"{where}: {option} takes no value, got {value!r}")
            if value != "false":
                _FLAGS[option](found)
            continue
        if option not in _VALUED and option not in _WITHOUT_EFFECT_VALUED:
            raise ExecutorError(
                f"{where}: unknown option {option!r}",
                hint="expected options of `docker create`, such as --cpus 1 or --health-cmd 'redis-cli ping'",
            )
        if value is None:
            if position == len(words):
                raise ExecutorError(f"{where}: {option} needs a value")
            value = words[position]
            position += 1
        if option in _WITHOUT_EFFECT_VALUED:
            found.notes.append(f"{where}: {option} has no effect here")
            continue
        try:
            _VALUED[option](found, value)
        except _Wrong as error:
            raise ExecutorError(f"{where}: {option}: {error}, got {value!r}") from None
    return found


def _split(word: str) -> tuple[str, str | None]:
    """An option and the value that is written with it: `--memory=1g`, `-m1g`."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    if word.startswith("-") and len(word) > 2 and word not in _WITHOUT_EFFECT:
        return word[:2], word[2:].removeprefix("=")
    return word, None


def bytes_of(text: str) -> int:
    """A size as Docker writes it: 512m, 1.5g."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([bkmgt]?)(?:i?b)?", text.lower())
    if match is None:
        raise _Wrong("expected a size such as 512m or 2g")
    return int(float(match[1]) * _UNITS[match[2]])


def seconds_of(text: str) -> float:
    """A duration as Go writes it; 0 may stand without a unit."""
    if text == "0":
        return 0.0
    if not re.fullmatch(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+", text):
        raise _Wrong("expected a duration such as 10s or 1m30s")
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)", text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise _Wrong("expected a whole number")
    return int(text)


def _nano_cpus(text: str) -> int:
    if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        raise _Wrong("expected a number of processors such as 1.5")
    return int(float(text) * 1e9)


def _text(text: str) -> str:
    return text


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise _Wrong("expected NAME=VALUE")
    return name, value


_Setter = Callable[[CreateOptions, str], None]


def _config(key: str, read: Callable[[str], Any] = _text) -> _Setter:
    return lambda found, value: found.config.__setitem__(key, read(value))


def _host(key: str, read: Callable[[str], Any] = _text) -> _Setter:
    return lambda found, value: found.host.__setitem__(key, read(value))


def _host_list(key: str, read: Callable[[str], Any] = _text) -> _Setter:
    return lambda found, value: found.host.setdefault(key, []).append(read(value))


def _host_map(key: str) -> _Setter:
    def put(found: CreateOptions, value: str) -> None:
        name, content = _pair(value)
        found.host.setdefault(key, {})[name] = content

    return put


def _env(found: CreateOptions, value: str) -> None:
    name, content = _pair(value)
    found.env[name] = content


def _label(found: CreateOptions, value: str) -> None:
    name, content = _pair(value)
    found.labels[name] = content


def _expose(found: CreateOptions, value: str) -> None:
    found.config.setdefault("ExposedPorts", {})[value if "/" in value else f"{value}/tcp"] = {}


def _tmpfs(found: CreateOptions, value: str) -> None:
    path, _, options = value.partition(":")
    found.host.setdefault("Tmpfs", {})[path] = options


def _ulimit(text: str) -> dict[str, Any]:
    name, value = _pair(text)
    soft, _, hard = value.partition(":")
    return {"Name": name, "Soft": _integer(soft), "Hard": _integer(hard or soft)}


def _device(text: str) -> dict[str, str]:
    parts = text.split(":")
    return {
        "PathOnHost": parts[0],
        "PathInContainer": parts[1] if len(parts) > 1 else parts[0],
        "CgroupPermissions": parts[2] if len(parts) > 2 else "rwm",
    }


def _gpus(found: CreateOptions, value: str) -> None:
    request: dict[str, Any] = {"Driver": "", "Capabilities": [["gpu"]], "Count": -1}
    if value.startswith("device="):
        request |= {"Count": 0, "DeviceIDs": value.removeprefix("device=").strip('"').split(",")}
    elif value != "all":
        request["Count"] = _integer(value)
    found.host.setdefault("DeviceRequests", []).append(request)


_MOUNT_KEYS = {"type": "Type", "source": "Source", "src": "Source", "target": "Target", "dst": "Target",
               "destination": "Target"}  # fmt: skip


def _mount(found: CreateOptions, value: str) -> None:
    mount: dict[str, Any] = {"Type": "volume"}
    for part in value.split(","):
        name, equals, content = part.partition("=")
        if name in _MOUNT_KEYS and equals:
            mount[_MOUNT_KEYS[name]] = content
        elif name in ("readonly", "ro"):
            mount["ReadOnly"] = content in ("", "true", "1")
        elif name == "tmpfs-size":
            mount["TmpfsOptions"] = {"SizeBytes": bytes_of(content)}
        elif name == "bind-propagation":
            mount["BindOptions"] = {"Propagation": content}
        else:
            raise _Wrong("expected type=…,source=…,target=… and readonly")
    if "Target" not in mount or mount["Type"] not in ("bind", "volume", "tmpfs"):
        raise _Wrong("expected a target, and the type bind, volume or tmpfs")
    found.mounts.append(mount)


def _platform(found: CreateOptions, value: str) -> None:
    found.platform = value


def _health(change: Callable[[HealthCheck, str], dict[str, Any]]) -> _Setter:
    def put(found: CreateOptions, value: str) -> None:
        from msgspec.structs import replace

        check = found.health or HealthCheck()
        found.health = replace(check, **change(check, value))

    return put


def _no_health(found: CreateOptions) -> None:
    found.health_disabled = True


_FLAGS: dict[str, Callable[[CreateOptions], None]] = {
    "--init": lambda found: None,
    "--no-healthcheck": _no_health,
    "--oom-kill-disable": lambda found: found.host.__setitem__("OomKillDisable", True),
    "--privileged": lambda found: found.host.__setitem__("Privileged", True),
    "--publish-all": lambda found: found.host.__setitem__("PublishAllPorts", True),
    "-P": lambda found: found.host.__setitem__("PublishAllPorts", True),
    "--read-only": lambda found: found.host.__setitem__("ReadonlyRootfs", True),
}
_VALUED: dict[str, _Setter] = {
    "--add-host": _host_list("ExtraHosts"),
    "--annotation": _host_map("Annotations"),
    "--blkio-weight": _host("BlkioWeight", _integer),
    "--cap-add": _host_list("CapAdd"),
    "--cap-drop": _host_list("CapDrop"),
    "--cpu-period": _host("CpuPeriod", _integer),
    "--cpu-quota": _host("CpuQuota", _integer),
    "--cpu-shares": _host("CpuShares", _integer),
    "-c": _host("CpuShares", _integer),
    "--cpus": _host("NanoCpus", _nano_cpus),
    "--cpuset-cpus": _host("CpusetCpus"),
    "--cpuset-mems": _host("CpusetMems"),
    "--device": _host_list("Devices", _device),
    "--device-cgroup-rule": _host_list("DeviceCgroupRules"),
    "--dns": _host_list("Dns"),
    "--dns-option": _host_list("DnsOptions"),
    "--dns-opt": _host_list("DnsOptions"),
    "--dns-search": _host_list("DnsSearch"),
    "--domainname": _config("Domainname"),
    "--env": _env,
    "-e": _env,
    "--expose": _expose,
    "--gpus": _gpus,
    "--group-add": _host_list("GroupAdd"),
    "--health-cmd": _health(lambda check, value: {"argv": ("/bin/sh", "-c", value)}),
    "--health-interval": _health(lambda check, value: {"interval_s": seconds_of(value)}),
    "--health-retries": _health(lambda check, value: {"retries": max(1, _integer(value))}),
    "--health-start-interval": _health(lambda check, value: {}),
    "--health-start-period": _health(lambda check, value: {"start_period_s": seconds_of(value)}),
    "--health-timeout": _health(lambda check, value: {"timeout_s": seconds_of(value)}),
    "--hostname": _config("Hostname"),
    "-h": _config("Hostname"),
    "--ipc": _host("IpcMode"),
    "--label": _label,
    "-l": _label,
    "--mac-address": lambda found, value: setattr(found, "mac_address", value),
    "--memory": _host("Memory", bytes_of),
    "-m": _host("Memory", bytes_of),
    "--memory-reservation": _host("MemoryReservation", bytes_of),
    "--memory-swap": _host("MemorySwap", lambda value: -1 if value == "-1" else bytes_of(value)),
    "--memory-swappiness": _host("MemorySwappiness", _integer),
    "--mount": _mount,
    "--network-alias": lambda found, value: found.aliases.append(value),
    "--oom-score-adj": _host("OomScoreAdj", _integer),
    "--pids-limit": _host("PidsLimit", _integer),
    "--platform": _platform,
    "--publish": lambda found, value: found.ports.append(value),
    "-p": lambda found, value: found.ports.append(value),
    "--runtime": _host("Runtime"),
    "--security-opt": _host_list("SecurityOpt"),
    "--shm-size": _host("ShmSize", bytes_of),
    "--stop-signal": _config("StopSignal"),
    "--storage-opt": _host_map("StorageOpt"),
    "--sysctl": _host_map("Sysctls"),
    "--tmpfs": _tmpfs,
    "--ulimit": _host_list("Ulimits", _ulimit),
    "--user": _config("User"),
    "-u": _config("User"),
    "--userns": _host("UsernsMode"),
    "--volume": lambda found, value: found.volumes.append(value),
    "-v": lambda found, value: found.volumes.append(value),
    "--workdir": _config("WorkingDir"),
    "-w": _config("WorkingDir"),
}
