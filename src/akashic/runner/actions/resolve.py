"""Where an action comes from: an override of the user's, a built-in one, the cache, or git; in this order.

A local action (`./path`) is read from the workspace when its step runs, as on GitHub.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from akashic.actions.protocol import Builtin
from akashic.actions.registry import find
from akashic.errors import AkashicError, UsageError
from akashic.runner.actions.cache import ActionCache
from akashic.runner.actions.lockfile import LockFile
from akashic.runner.actions.uses import ImageUse, LocalUse, RepositoryUse, parse_uses
from akashic.workflow.action import ActionMetadata, ActionRuns, parse_action
from akashic.workflow.own_actions import with_repository

METADATA_NAMES = ("action.yml", "action.yaml")
DOCKERFILE_NAMES = ("Dockerfile", "dockerfile")
METADATA_BYTES_MAX = 1024 * 1024


class ResolvedAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action that is here: either `builtin` is set, or `metadata` and `folder` (the action's own folder
    on this machine) are; an image of `docker://` has `metadata` alone. `repository_folder` is the whole
    repository's copy; `origin` says where it came from."""

    uses: str
    name: str
    ref: str
    origin: str
    builtin: Builtin | None = None
    metadata: ActionMetadata | None = None
    folder: Path | None = None
    repository_folder: Path | None = None
    workspace_folder: Path | None = None
    """The workspace on this machine, of a local action."""
    path: str = ""
    commit: str = ""


class ActionResolver:
    """Finds actions. Thread-safe.

    `overrides` maps `owner/repo@ref` or `owner/repo` to a folder of the user's; `lock` is the repository's
    lock file; `offline` never asks a server.
    """

    def __init__(
        self,
        *,
        cache: ActionCache,
        overrides: Mapping[str, str] | None = None,
        lock: LockFile | None = None,
        builtins: bool = True,
        offline: bool = False,
    ) -> None:
        self._cache = cache
        self._overrides = {_override_key(name): path for name, path in (overrides or {}).items()}
        self._lock = lock
        self._builtins = builtins
        self._offline = offline

    def resolve(self, uses: str) -> ResolvedAction:
        """Find a repository's action, fetching it when needed, or what `docker://` means. Raises
        AkashicError."""
        use = parse_uses(uses)
        if isinstance(use, ImageUse):
            return image_action(uses)
        if isinstance(use, LocalUse):
            raise AkashicError(f"uses: '{uses}' is found in the workspace only")
        override = self._overrides.get(use.pin) or self._overrides.get(use.repository.lower())
        if override is not None:
            root = Path(override)
            if not root.is_dir():
                raise UsageError(f"{use}: the folder that was given for it does not exist: {override}")
            return self._load(use, root, origin=f"override {override}")
        if self._builtins:
            builtin = find(use.name, use.ref)
            if builtin is not None:
                return ResolvedAction(
                    uses=uses, name=use.name, ref=use.ref, origin="built in", builtin=builtin
                )
        commit, origin = self._obtain(use)
        folder = self._cache.folder(use, commit)
        assert folder is not None, use
        return self._load(use, folder, origin=origin, commit=commit)

    def pin(self, use: RepositoryUse) -> str:
        """The commit that the ref has at the server now, fetched. Raises FetchError."""
        commit = self._cache.ask_commit(use)
        if self._cache.folder(use, commit) is None:
            self._cache.fetch(use, commit)
        return commit

    def pinned_image(self, image: str) -> str:
        """The image as the lock file pins it. Raises UsageError when the lock file does not know it."""
        return image if self._lock is None else self._lock.image(image)

    def _obtain(self, use: RepositoryUse) -> tuple[str, str]:
        known = self._cache.known_commit(use)
        commit = known
        if self._lock is not None:
            commit = self._lock.commit(use)
            if known:
                self._lock.check(use, known)
        if commit and self._cache.folder(use, commit) is not None:
            return commit, "cache"
        if self._offline:
            raise AkashicError(
                f"{use}: not in the cache of actions, and fetching is off",
                hint="Run once with a network, or give a copy: --local-repository owner/repo@ref=PATH",
            )
        if self._lock is not None:
            self._lock.check(use, self._cache.ask_commit(use))
            return self._cache.fetch(use, commit), "git"
        return self._cache.fetch(use), "git"

    def _load(self, use: RepositoryUse, root: Path, *, origin: str, commit: str = "") -> ResolvedAction:
        folder = root / use.path if use.path else root
        metadata = read_metadata(folder, str(use), within=root)
        steps = with_repository(metadata.runs.steps, use.repository, use.ref)
        metadata = replace(metadata, runs=replace(metadata.runs, steps=steps))
        return ResolvedAction(
            uses=str(use),
            name=use.name,
            ref=use.ref,
            origin=origin,
            metadata=metadata,
            folder=folder,
            repository_folder=root,
            path=use.path,
            commit=commit,
        )


def read_metadata(folder: Path, shown: str, *, within: Path) -> ActionMetadata:
    """An action's `action.yml`, or what a lone Dockerfile means. Raises AkashicError."""
    for name in METADATA_NAMES:
        path = folder / name
        if path.is_file():
            if not path.resolve().is_relative_to(within.resolve()):
                raise AkashicError(f"{shown}: {name} is a link out of its repository")
            if path.stat().st_size > METADATA_BYTES_MAX:
                raise AkashicError(f"{shown}: {name} is larger than {METADATA_BYTES_MAX // 1024} KiB")
            return parse_action(path.read_bytes(), f"{shown}/{name}")
    for name in DOCKERFILE_NAMES:
        path = folder / name
        if path.is_file():
            if not path.resolve().is_relative_to(within.resolve()):
                raise AkashicError(f"{shown}: {name} is a link out of its repository")
            return _docker_metadata(f"{shown}/{name}", name)
    raise AkashicError(
        f"{shown}: no action.yml, action.yaml or Dockerfile in '{folder}'",
        hint="For an action of this repository, check out the repository in an earlier step."
        if shown.startswith(".")
        else "",
    )


def image_action(uses: str) -> ResolvedAction:
    """What `uses: docker://image` means. Raises AkashicError when no image is named."""
    image = uses.strip().removeprefix("docker://")
    if not image or any(char.isspace() for char in image):
        raise AkashicError(f"uses: '{uses}' names no image", hint="For example: docker://alpine:3.20")
    return ResolvedAction(
        uses=uses, name="", ref="", origin="image", metadata=_docker_metadata(uses, f"docker://{image}")
    )


def _docker_metadata(shown: str, image: str) -> ActionMetadata:
    """The metadata of an action that has none: its image alone."""
    return ActionMetadata(path=shown, runs=ActionRuns(using="docker", image=image))


def _override_key(name: str) -> str:
    repository, at, ref = name.partition("@")
    return f"{repository.lower().strip('/')}{at}{ref}"
