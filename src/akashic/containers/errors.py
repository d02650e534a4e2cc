"""What can go wrong with a container engine, in a user's words."""

from __future__ import annotations

import errno

from akashic.errors import AkashicError


class EngineError(AkashicError):
    """The engine refused or failed; the message is the engine's own."""


class EngineMissing(EngineError):
    """There is no engine, or it does not run, or it does not let us in."""


class NotFound(EngineError):
    """The engine has no such container, image, network or volume."""


class Conflict(EngineError):
    """A name or port is taken, or the thing is in use."""


class NoSpace(EngineError):
    """The disk of the engine is full."""


class PullFailed(EngineError):
    """An image cannot be had from its registry, or must not be asked for."""


class BuildFailed(EngineError):
    """A Dockerfile cannot be built; the message ends with the build's last lines."""


def unreachable(error: OSError, address: str) -> EngineMissing:
    """What it means that the engine's door cannot be opened."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return EngineMissing(
            f"the container engine at {address} does not let you in: {error.strerror}",
            hint="add yourself to the group docker (`sudo usermod -aG docker $USER`, then log in again), or "
            "use a "
            "rootless engine",
        )
    if error.errno == errno.ENOENT:
        return EngineMissing(
            f"there is no container engine at {address}",
            hint="install Docker or Podman and start it, or set DOCKER_HOST; `--executor host` needs none",
        )
    if error.errno == errno.ECONNREFUSED:
        return EngineMissing(
            f"the container engine at {address} does not run",
            hint="start it: `sudo systemctl start docker`",
        )
    return EngineMissing(
        f"the container engine at {address} cannot be reached: {error.strerror or error}",
        hint="see that it runs, and that DOCKER_HOST is right",
    )


def refused(status: int, message: str) -> EngineError:
    """The error for an answer that is none of the good ones."""
    text = message.strip() or f"the engine answered with status {status}"
    lowered = text.lower()
    if "no space left on device" in lowered or "disk quota exceeded" in lowered:
        return NoSpace(
            f"the container engine has no disk space left: {text}",
            hint="free some: `docker system df` shows what takes it",
        )
    if status == 404:
        return NotFound(text)
    if status == 409 or "port is already allocated" in lowered or "address already in use" in lowered:
        return Conflict(text)
    return EngineError(f"the container engine says: {text}")
