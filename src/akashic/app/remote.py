"""Reusable workflows of other repositories: read from a folder of the user's, the action cache, or git."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from akashic.app.workflows import RemoteReader
from akashic.errors import AkashicError, UsageError
from akashic.runner.actions.cache import ActionCache
from akashic.runner.actions.uses import RepositoryUse, parse_uses


def remote_reader(cache: ActionCache, overrides: Mapping[str, str], *, offline: bool) -> RemoteReader:
    """A reader that fetches a repository once and then reads it from the cache."""

    def read(reference: str) -> str:
        use = parse_uses(reference)
        if not isinstance(use, RepositoryUse) or not use.path:
            raise UsageError(
                f"{reference}: expected owner/repo/.github/workflows/FILE@REF or ./.github/workflows/FILE"
            )
        folder = _folder(use)
        path = (folder / use.path).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise UsageError(f"{reference}: there is no file {use.path} in it")
        return path.read_text(encoding="utf-8")

    def _folder(use: RepositoryUse) -> Path:
        name = f"{use.owner}/{use.repo}"
        for key in (f"{name}@{use.ref}", name):
            if key in overrides:
                return Path(overrides[key])
        commit = cache.known_commit(use)
        folder = cache.folder(use, commit) if commit else None
        if folder is None:
            if offline:
                raise AkashicError(f"{name}@{use.ref} is not in the cache, and --offline forbids to fetch it")
            commit = cache.fetch(use)
            folder = cache.folder(use, commit)
        assert folder is not None, commit
        return folder

    return read
