"""`actions/setup-node`. Source: its README and metadata.

Nothing is downloaded: Node is found in the tool cache (`node/<version>/<architecture>`), in nvm, fnm or
volta, or on PATH. Global installs of a step go into a folder of the job's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path

import msgspec

from akashic.actions.cache import restore_cache, save_cache
from akashic.actions.inputs import boolean, declare, lines, text
from akashic.actions.paths import find, parse
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.actions.system import on_this_machine, programs, run
from akashic.actions.versions import Version, is_range, matches, parse_version

FILE_BYTES_MAX = 4 << 20
LTS_NAMES = {
    "argon": 4, "boron": 6, "carbon": 8, "dubnium": 10, "erbium": 12, "fermium": 14, "gallium": 16,
    "hydrogen": 18, "iron": 20, "jod": 22, "krypton": 24,
}  # fmt: skip
_CACHES = {
    "npm": (("package-lock.json", "npm-shrinkwrap.json", "yarn.lock"), "~/.npm"),
    "pnpm": (("pnpm-lock.yaml",), "~/.local/share/pnpm/store"),
    "yarn": (("yarn.lock",), "~/.cache/yarn"),
}


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A Node on this machine: the folder that its `node` lies in, and its version."""

    folder: str
    version: Version

    @property
    def text(self) -> str:
        return ".".join(str(number) for number in self.version)


def _main(ctx: ActionContext) -> None:
    _check_architecture(ctx)
    for name in ("check-latest", "always-auth"):
        boolean(ctx, name)
    wanted = _wanted(ctx)
    known = _nodes(ctx)
    if wanted:
        node = _choose(known, wanted)
        if node is None:
            names = ", ".join(node.text for node in sorted(known, key=lambda node: node.version))
            raise ActionFailed(
                f"Unable to find Node version '{wanted}' for platform linux and architecture"
                f" {ctx.sandbox.arch.lower()}.",
                hint=f"This machine has: {names or 'no Node at all'}. Install it, or ask for a range of it.",
            )
        _update_environment(ctx, node)
        ctx.output("node-version", f"v{node.text}")
        ctx.log(f"Found Node {node.text} in {node.folder}")
    _registry(ctx)
    manager = text(ctx, "cache") or _package_manager(ctx)
    if manager:
        _cache(ctx, manager)


def _wanted(ctx: ActionContext) -> str:
    version, file = text(ctx, "node-version"), text(ctx, "node-version-file")
    if version and file:
        ctx.annotate(
            "warning",
            "Both node-version and node-version-file inputs are specified, only node-version is used",
        )
    if version or not file:
        return version
    content = ctx.sandbox.read(os.path.normpath(f"{ctx.sandbox.workspace}/{file}"), bytes_max=FILE_BYTES_MAX)
    if content is None:
        raise ActionFailed(f"The specified node version file at: {file} does not exist")
    words = content.decode("utf-8", "replace")
    if file.endswith(".json"):
        return _from_package(file, words)
    match = re.search(r"^\s*(?:node(?:js)?\s+)?v?(?P<version>[^\s#]+)", words, re.MULTILINE)
    return match["version"] if match else ""


def _from_package(file: str, words: str) -> str:
    try:
        data = json.loads(words)
    except ValueError as error:
        raise ActionFailed(f"{file} is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        return ""
    for section in ("volta", "devEngines", "engines"):
        part = data.get(section)
        if isinstance(part, dict):
            runtime = part.get("runtime")
            found = runtime.get("version") if isinstance(runtime, dict) else part.get("node")
            if found:
                return str(found)
    return ""


def _check_architecture(ctx: ActionContext) -> None:
    wanted, here = text(ctx, "architecture").lower(), ctx.sandbox.arch.lower()
    if wanted and wanted != here:
        raise ActionFailed(f"architecture '{wanted}' is not this machine's, which is '{here}'")


def _nodes(ctx: ActionContext) -> list[Node]:
    found: dict[str, Node] = {}
    for path, real in programs(ctx, _places(ctx), ("node",)):
        if real in found:
            continue
        folder = path.removesuffix("/node")
        code, output = run(ctx, (path, "--version"), cwd="/")
        version = parse_version(output.strip()) if code == 0 else None
        if version:
            found[real] = Node(folder=folder, version=version)
    return list(found.values())


def _places(ctx: ActionContext) -> list[str]:
    tools = Path(ctx.sandbox.host_path(ctx.sandbox.tool_cache)) / "node"
    places = [
        f"{ctx.sandbox.tool_cache}/node/{path.relative_to(tools)}/bin"
        for path in sorted(tools.glob("*/*"))
        if path.is_dir() and path.with_name(f"{path.name}.complete").exists()
    ]
    homes = {ctx.env.get("HOME", ""), ctx.sandbox.home, str(Path.home())} - {""}
    for home in sorted(homes) if on_this_machine(ctx) else ():
        for pattern in (
            ".nvm/versions/node/*/bin",
            ".local/share/fnm/node-versions/*/installation/bin",
            ".volta/tools/image/node/*/bin",
        ):
            places += [str(path) for path in sorted(Path(home).glob(pattern))]
    machine = ctx.sandbox.base_env.get("PATH", "").split(":")
    return list(dict.fromkeys([*places, *(p for p in machine if p.startswith("/")), "/usr/local/bin"]))


def _choose(known: list[Node], wanted: str) -> Node | None:
    spec = wanted.strip().lower().removeprefix("v")
    candidates = known
    if spec in ("latest", "node", "current", "*"):
        spec = "*"
    elif spec.startswith("lts/"):
        name = spec[4:]
        candidates = [node for node in known if node.version[0] % 2 == 0]
        newest = max(LTS_NAMES.values())
        if name == "*":
            # A line that is newer than this table is an LTS one only when there is no other.
            known_lts = any(node.version[0] <= newest for node in candidates)
            spec = f"<={newest}" if known_lts else "*"
        elif re.fullmatch(r"-\d+", name):
            spec = str(newest + 2 * int(name))
        elif name in LTS_NAMES:
            spec = str(LTS_NAMES[name])
        else:
            raise ActionFailed(f"Unable to find LTS release '{name}' for Node version '{wanted}'.")
    if not is_range(spec):
        raise ActionFailed(f"'{wanted}' is no version and no range of versions")
    fitting = [node for node in candidates if matches(node.version, spec)]
    return max(fitting, key=lambda node: node.version, default=None)


def _update_environment(ctx: ActionContext, node: Node) -> None:
    own = f"{ctx.sandbox.temp}/_node/{node.text}"
    folder = f"{own}/bin"
    # Only Node's own programs come to the front: its folder may hold everything that the machine has.
    script = (
        'mkdir -p "$1" && cd "$2" && for name in node npm npx corepack pnpm yarn; do'
        ' if [ -x "$name" ]; then ln -sf "$2/$name" "$1/$name"; fi; done'
    )
    run(ctx, ("sh", "-c", script, "sh", folder, node.folder), cwd="/")
    ctx.set_env("NPM_CONFIG_PREFIX", own)
    ctx.add_path(folder)


def _registry(ctx: ActionContext) -> None:
    url = text(ctx, "registry-url")
    if not url:
        return
    if not re.fullmatch(r"https?://[^\s\"']+", url):
        raise ActionFailed(f"'registry-url' is no address of a registry: {url!r}")
    url = url if url.endswith("/") else f"{url}/"
    scope = text(ctx, "scope")
    if not scope and url.startswith("https://npm.pkg.github.com"):
        scope = str(ctx.github.get("repository_owner") or "")
    scope = (scope if scope.startswith("@") else f"@{scope}").lower() + ":" if scope else ""
    where = url.split(":", 1)[1]
    # The token itself stays in the environment; npm reads the variable.
    config = f"{where}:_authToken=${{NODE_AUTH_TOKEN}}\n{scope}registry={url}\n"
    path = f"{ctx.sandbox.temp}/.npmrc"
    ctx.sandbox.write(path, config.encode())
    ctx.set_env("NPM_CONFIG_USERCONFIG", path)
    ctx.set_env("NODE_AUTH_TOKEN", ctx.env.get("NODE_AUTH_TOKEN") or "XXXXX-XXXXX-XXXXX-XXXXX")


def _package_manager(ctx: ActionContext) -> str:
    """npm, when package.json says so (`packageManager`) and caching by itself is wanted."""
    if not boolean(ctx, "package-manager-cache", default=True):
        return ""
    content = ctx.sandbox.read(f"{ctx.sandbox.workspace}/package.json", bytes_max=FILE_BYTES_MAX)
    match = re.search(rb'"packageManager"\s*:\s*"npm@', content or b"")
    locked = ctx.sandbox.read(f"{ctx.sandbox.workspace}/package-lock.json", bytes_max=1)
    return "npm" if match and locked else ""


def _cache(ctx: ActionContext, manager: str) -> None:
    if manager not in _CACHES:
        raise ActionFailed(f"Caching for '{manager}' is not supported: use npm, pnpm or yarn")
    names, folder = _CACHES[manager]
    workspace = ctx.sandbox.workspace
    given = (
        lines(ctx, "cache-dependency-path")
        or [name for name in names if ctx.sandbox.read(f"{workspace}/{name}", bytes_max=1) is not None][:1]
    )
    found = (
        [
            item
            for item in find(
                ctx, parse(given, workspace=workspace, home=ctx.sandbox.home), hidden=True, follow=False
            )
            if stat.S_ISREG(item.mode)
        ]
        if given
        else []
    )
    if not found:
        raise ActionFailed(
            f"Dependencies lock file is not found in {workspace}. Supported file patterns: {', '.join(names)}"
        )
    digest = hashlib.sha256()
    for item in found:
        digest.update(hashlib.sha256(Path(ctx.sandbox.host_path(item.path)).read_bytes()).digest())
    key = f"node-cache-{ctx.sandbox.os}-{ctx.sandbox.arch.lower()}-{manager}-{digest.hexdigest()}"
    entry = restore_cache(ctx, [folder], key, [])
    ctx.output("cache-hit", "true" if entry else "false")
    ctx.save_state("cache-key", "" if entry else key)
    ctx.save_state("cache-path", folder)
    ctx.log(f"Cache restored from key: {key}" if entry else f"{manager} cache is not found")


def _post(ctx: ActionContext) -> None:
    if ctx.state.get("cache-key"):
        save_cache(ctx, [ctx.state["cache-path"]], ctx.state["cache-key"])


SETUP_NODE = Builtin(
    name="actions/setup-node",
    inputs=(
        *declare("node-version", "node-version-file", "architecture", "registry-url", "scope", "cache"),
        *declare("cache-dependency-path", "mirror", "mirror-token"),
        ActionInput(name="token", default="${{ github.token }}"),
        *declare(check_latest="false", package_manager_cache="true"),
        ActionInput(
            name="always-auth",
            default="false",
            deprecated="npm has removed always-auth; the input has no effect.",
        ),
    ),
    outputs=("cache-hit", "node-version"),
    main=_main,
    post=_post,
    post_if="success()",
)
