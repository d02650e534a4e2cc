"""`docker/setup-qemu-action` and `docker/setup-buildx-action`. Source: their READMEs and metadata.

Both only say what is there: images are built by `akashic image build`, which needs neither a builder instance
nor emulators for images that run no command of another platform.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from akashic.actions.inputs import boolean, declare, items, text
from akashic.actions.protocol import ActionContext, ActionInput, Builtin
from akashic.actions.system import run

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


def _buildx(ctx: ActionContext) -> None:
    boolean(ctx, "install")
    boolean(ctx, "use", default=True)
    name = text(ctx, "name") or f"builder-{os.urandom(16).hex()}"
    there = items(ctx, "platforms") or platforms(ctx)
    driver = text(ctx, "driver") or "docker-container"
    code, _ = run(ctx, ("docker", "buildx", "version"))
    if code:
        ctx.log(
            "Docker Buildx is not installed: images are built by `akashic image build`, without an engine."
        )
    node = {"name": f"{name}0", "endpoint": text(ctx, "endpoint"), "status": "running",
            "platforms": ",".join(there)}  # fmt: skip
    ctx.output("name", name)
    ctx.output("driver", driver)
    ctx.output("platforms", ",".join(there))
    ctx.output("nodes", json.dumps([node]))
    ctx.output("endpoint", text(ctx, "endpoint"))
    ctx.output("status", "running")
    ctx.output("flags", text(ctx, "buildkitd-flags"))


_ENGINE = "the image is built without a BuildKit daemon, which this would configure"

SETUP_QEMU = Builtin(
    name="docker/setup-qemu-action",
    inputs=(
        *declare(image="docker.io/tonistiigi/binfmt:latest", platforms="all", cache_image="true"),
        *declare("reset"),
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
        ActionInput(name="append", refused=_ENGINE),
        ActionInput(name="buildkitd-config", refused=_ENGINE),
        ActionInput(name="buildkitd-config-inline", refused=_ENGINE),
        ActionInput(name="config", refused=_ENGINE, deprecated="Use buildkitd-config instead"),
        ActionInput(name="config-inline", refused=_ENGINE, deprecated="Use buildkitd-config-inline instead"),
    ),
    outputs=("name", "driver", "platforms", "nodes", "endpoint", "status", "flags"),
    main=_buildx,
)
