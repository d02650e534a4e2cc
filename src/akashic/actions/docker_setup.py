"""`docker/setup-qemu-action` and `docker/setup-buildx-action`. Source: their READMEs and metadata.

Where Buildx is installed, a builder is made for the job and removed with it; elsewhere images are built by
`akashic image build`, which needs none. Emulators are never installed, because that changes the machine: the
action says which are registered.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from akashic.actions.inputs import boolean, declare, items, lines, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.errors import AkashicError

_EMULATORS = {
    "aarch64": "linux/arm64", "arm": "linux/arm/v7", "i386": "linux/386", "ppc64le": "linux/ppc64le",
    "riscv64": "linux/riscv64", "s390x": "linux/s390x", "x86_64": "linux/amd64",
    "loongarch64": "linux/loong64",
    "mips64el": "linux/mips64le", "mips64": "linux/mips64",
}  # fmt: skip
_NATIVE = {"X64": "linux/amd64", "ARM64": "linux/arm64", "ARM": "linux/arm/v7", "X86": "linux/386"}


def platforms(ctx: ActionContext) -> list[str]:
    """What this machine can run: its own platform first, then those with an emulator registered."""
    found = [_NATIVE.get(ctx.sandbox.arch, f"linux/{ctx.sandbox.arch.lower()}")]
    registered = Path("/proc/sys/fs/binfmt_misc")
    for name, platform in _EMULATORS.items():
        if (registered / f"qemu-{name}").exists() and platform not in found:
            found.append(platform)
    return found


def _qemu(ctx: ActionContext) -> None:
    wanted = [name for name in items(ctx, "platforms") if name != "all"]
    there = platforms(ctx)
    missing = [name for name in wanted if not any(p == f"linux/{name.removeprefix('linux/')}" for p in there)]
    if missing:
        ctx.log(
            f"No emulator is registered for {', '.join(missing)}. Images that run no command of"
            " these platforms are built without one."
        )
    ctx.output("platforms", ",".join(there))
    ctx.log(f"Available platforms: {','.join(there)}")


def engine_there(ctx: ActionContext) -> bool:
    """Whether a container engine answers to this job, asked through its API."""
    from akashic.containers.engine import Engine  # only these actions pay for it

    try:
        Engine.connect(ctx.env).ping()
    except AkashicError:
        return False
    return True


def buildx_there(ctx: ActionContext) -> bool:
    """Whether the job has Docker's Buildx, and an engine behind it."""
    for argv in (("docker", "buildx", "version"), ("docker", "version", "--format", "{{.Server.Version}}")):
        status, _ = ctx.exec(argv, log=False)
        if status.code:
            return False
    return True


def _buildx(ctx: ActionContext) -> None:
    name = text(ctx, "name") or f"builder-{os.urandom(16).hex()}"
    there = items(ctx, "platforms") or platforms(ctx)
    driver = text(ctx, "driver") or "docker-container"
    install, use = boolean(ctx, "install"), boolean(ctx, "use", default=True)
    if buildx_there(ctx):
        if driver != "docker":
            _create(ctx, name, driver, use=use)
        if install:
            ctx.exec(("docker", "buildx", "install"))
    else:
        _refuse_engine_inputs(ctx)
        driver = "docker"
        how = "BuildKit in the engine, asked by" if engine_there(ctx) else "no engine, by"
        ctx.log(f"Buildx is not installed: images are built with {how} `akashic image build`.")
    node = {"name": f"{name}0", "endpoint": text(ctx, "endpoint"), "status": "running",
            "platforms": ",".join(there)}  # fmt: skip
    ctx.output("name", name)
    ctx.output("driver", driver)
    ctx.output("platforms", ",".join(there))
    ctx.output("nodes", json.dumps([node]))
    ctx.output("endpoint", text(ctx, "endpoint"))
    ctx.output("status", "running")
    ctx.output("flags", text(ctx, "buildkitd-flags"))


def _create(ctx: ActionContext, name: str, driver: str, *, use: bool) -> None:
    argv = ["docker", "buildx", "create", "--name", name, "--driver", driver]
    for option in lines(ctx, "driver-opts"):
        argv += ["--driver-opt", option]
    if text(ctx, "buildkitd-flags"):
        argv += ["--buildkitd-flags", text(ctx, "buildkitd-flags")]
    config = text(ctx, "buildkitd-config") or text(ctx, "config")
    inline = ctx.inputs.get("buildkitd-config-inline") or ctx.inputs.get("config-inline")
    if inline:
        config = f"{ctx.sandbox.temp}/buildkitd-{os.urandom(6).hex()}.toml"
        ctx.sandbox.write(config, inline.encode())
    if config:
        argv += ["--buildkitd-config", config]
    if items(ctx, "platforms"):
        argv += ["--platform", ",".join(items(ctx, "platforms"))]
    argv += ["--use"] if use else []
    argv += [text(ctx, "endpoint")] if text(ctx, "endpoint") else []
    ctx.save_state("builder", name)
    status, output = ctx.exec(argv)
    if status.code:
        said = output.decode("utf-8", "replace").strip().splitlines()
        raise ActionFailed(f"docker buildx create failed: {said[-1] if said else status.code}")


def _refuse_engine_inputs(ctx: ActionContext) -> None:
    names = ("buildkitd-config", "buildkitd-config-inline", "config", "config-inline", "driver-opts")
    given = [name for name in names if text(ctx, name)]
    if given:
        raise ActionFailed(
            f"Docker's Buildx is not there, and these inputs need it: {', '.join(given)}",
            hint="Install Buildx (and start Docker), or remove the inputs.",
        )


def _remove_builder(ctx: ActionContext) -> None:
    name = ctx.state.get("builder", "")
    if name and boolean(ctx, "cleanup", default=True):
        keep = ("--keep-state",) if boolean(ctx, "keep-state") else ()
        ctx.exec(("docker", "buildx", "rm", "--force", *keep, name))


SETUP_QEMU = Builtin(
    name="docker/setup-qemu-action",
    inputs=(
        *declare(image="docker.io/tonistiigi/binfmt:latest", platforms="all", cache_image="true"),
        *declare("cache-image-path", "reset"),
    ),
    outputs=("platforms",),
    main=_qemu,
)
SETUP_BUILDX = Builtin(
    name="docker/setup-buildx-action",
    inputs=(
        *declare("version", "driver-opts", "endpoint", "platforms", "name", "buildkitd-flags"),
        *declare(driver="docker-container", install="false", use="true", cache_binary="true", cleanup="true"),
        ActionInput(name="keep-state", default="false"),
        ActionInput(name="append", refused="a builder of several nodes cannot be made here"),
        *declare("buildkitd-config", "buildkitd-config-inline"),
        ActionInput(name="config", deprecated="Use buildkitd-config instead"),
        ActionInput(name="config-inline", deprecated="Use buildkitd-config-inline instead"),
    ),
    outputs=("name", "driver", "platforms", "nodes", "endpoint", "status", "flags"),
    main=_buildx,
    post=_remove_builder,
)
