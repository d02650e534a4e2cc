"""Finds every action that a repository's workflows use, and pins it with all that it uses itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from pathlib import Path

from akashic.actions.registry import find
from akashic.errors import AkashicError
from akashic.runner.actions.cache import ActionCache
from akashic.runner.actions.prepare import DEPTH_MAX
from akashic.runner.actions.resolve import METADATA_NAMES, read_metadata
from akashic.runner.actions.uses import ImageUse, RepositoryUse, is_commit, parse_uses
from akashic.source.yaml import Mapping, Node, Scalar, Sequence, load
from akashic.workflow.own_actions import PREFIX, with_repository

_MARK = ".github/workflows/"


@dataclass(frozen=True, slots=True)
class ImageDigest:
    """The digest of an image in its registry; "" with the reason why it is not known."""

    digest: str
    reason: str = ""


class Locker:
    """Collects pins; `pins` holds what was locked before and what is locked now: only what is used.

    Built-in actions are no foreign code and are not pinned, only named in `built_in`. `update` asks the
    server for every ref again. `images` are the images of Docker actions with their digests ("" when there is
    none); `digest` asks for one and says in `unpinned` why there is none.
    """

    def __init__(
        self,
        cache: ActionCache,
        known: dict[str, str],
        *,
        update: bool,
        known_images: MappingOf[str, str] | None = None,
        digest: Callable[[str], ImageDigest] | None = None,
    ) -> None:
        self._cache = cache
        self._known = known
        self._update = update
        self._known_images = known_images or {}
        self._digest = digest or (lambda image: ImageDigest("", "no container engine was asked"))
        self._done: set[str] = set()
        self.pins: dict[str, str] = {}
        self.images: dict[str, str] = {}
        self.unpinned: dict[str, str] = {}
        self.built_in: set[str] = set()

    def add(self, uses: str, depth: int = 0) -> None:
        """Pin the action of a `uses:` value, and what it uses. Raises AkashicError."""
        if depth > DEPTH_MAX:
            raise AkashicError(f"{uses}: actions use each other more than {DEPTH_MAX} deep")
        use = parse_uses(uses)
        if isinstance(use, ImageUse):
            self._add_image(use.image)
            return
        if not isinstance(use, RepositoryUse) or str(use) in self._done:
            return
        self._done.add(str(use))
        if not use.path.startswith(_MARK) and find(use.name, use.ref) is not None:
            self.built_in.add(str(use))
            return
        commit = self._commit(use)
        if not is_commit(use.ref):
            self.pins[use.pin] = commit
        if self._cache.folder(use, commit) is None:
            self._cache.fetch(use, commit)
        root = self._cache.folder(use, commit)
        assert root is not None, use
        for inner in self._inner(use, root):
            self.add(inner, depth + 1)

    def _add_image(self, image: str) -> None:
        if "@" in image or image in self.images:
            return
        known = self._known_images.get(image, "")
        if known and not self._update:
            self.images[image] = known
            return
        found = self._digest(image)
        self.images[image] = found.digest or known
        if not self.images[image]:
            self.unpinned[image] = found.reason

    def _commit(self, use: RepositoryUse) -> str:
        known = self._known.get(use.pin) or self.pins.get(use.pin)
        if known and not self._update:
            return known
        return self.pins.get(use.pin) or self._cache.ask_commit(use)

    def _inner(self, use: RepositoryUse, root: Path) -> Iterator[str]:
        if use.path.startswith(_MARK):
            yield from uses_in(root / use.path)
            return
        folder = root / use.path if use.path else root
        runs = read_metadata(folder, str(use), within=root).runs
        if runs.image.startswith("docker://"):
            yield runs.image
        for step in with_repository(runs.steps, use.repository, use.ref):
            if step.uses and not step.uses.startswith("."):
                yield step.uses


def used_actions(root: Path) -> list[str]:
    """Every `uses:` of a repository's workflows and of its own actions, sorted. Raises InvalidInput."""
    found: set[str] = set()
    workflows = root / ".github" / "workflows"
    files = sorted(path for path in workflows.iterdir() if path.suffix in (".yml", ".yaml"))
    actions = root / ".github" / "actions"
    if actions.is_dir():
        files += sorted(path for name in METADATA_NAMES for path in actions.rglob(name))
    for path in files:
        found.update(uses_in(path))
    return sorted(uses for uses in found if not uses.startswith((".", PREFIX)))


def uses_in(path: Path) -> set[str]:
    """The values of all `uses:` keys of a YAML file, wherever they stand."""
    found: set[str] = set()
    stack: list[Node] = [load(path.read_bytes(), str(path))]
    while stack:
        node = stack.pop()
        if isinstance(node, Sequence):
            stack.extend(node.items)
        elif isinstance(node, Mapping):
            for key, value in node.entries:
                if not isinstance(value, Scalar) or not isinstance(value.value, str):
                    stack.append(value)
                elif key.text == "uses" or (key.text == "image" and value.value.startswith("docker://")):
                    # Of an action of the repository itself `runs.image` counts, too.
                    found.add(value.value)
    return found
