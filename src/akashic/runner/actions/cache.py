"""Fetched actions: `<cache>/<owner>/<repo>/<commit>/`, with the last known commit of each ref beside them.

Fetching runs git with no hooks, no submodules, no prompts and nothing of a job's environment.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from akashic.errors import AkashicError
from akashic.git import SAFE
from akashic.runner.actions.uses import RepositoryUse, is_commit
from akashic.runner.variables import without_loader_variables

FETCH_TIMEOUT_S = 120
ASK_TIMEOUT_S = 30
_GIT_OPTIONS = (
    *SAFE, "-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=false",
    "-c", "core.symlinks=true", "-c", "core.autocrlf=false",
    "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false",
)  # fmt: skip


class FetchError(AkashicError):
    """An action could not be fetched."""


class ActionCache:
    """The folder of fetched actions. Many processes may use it: an action appears whole or not at all."""

    def __init__(self, folder: Path, *, server_url: str, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._server_url = server_url.rstrip("/")
        self._user_environ = environ

    @functools.cached_property
    def _environ(self) -> dict[str, str]:
        """What git gets; most runs fetch nothing."""
        return without_loader_variables(self._user_environ) | {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "LC_ALL": "C",
        }

    def known_commit(self, use: RepositoryUse) -> str:
        """The commit that the ref had when it was last fetched, "" when never."""
        if is_commit(use.ref):
            return use.ref.lower()
        try:
            commit = self._ref_path(use).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return commit if is_commit(commit) else ""

    def folder(self, use: RepositoryUse, commit: str) -> Path | None:
        """Where the repository's files at this commit lie, None when they are not here."""
        place = self._place(use) / commit
        return place if place.is_dir() else None

    def ask_commit(self, use: RepositoryUse) -> str:
        """The commit that the ref has at the server now. Raises FetchError."""
        if is_commit(use.ref):
            return use.ref.lower()
        listing = self._git(
            use, "ls-remote", self._url(use), use.ref, f"{use.ref}^{{}}", timeout_s=ASK_TIMEOUT_S
        )
        found: dict[str, str] = {}
        for line in listing.splitlines():
            commit, _, name = line.partition("\t")
            found[name] = commit
        for name in (f"refs/tags/{use.ref}^{{}}", f"refs/tags/{use.ref}", f"refs/heads/{use.ref}"):
            if name in found:
                return found[name]
        raise FetchError(f"{use}: {self._url(use)} has no branch or tag '{use.ref}'")

    def fetch(self, use: RepositoryUse, commit: str = "") -> str:
        """Fetch the ref, or exactly this commit of it; the commit. Raises FetchError."""
        place = self._place(use)
        place.mkdir(parents=True, exist_ok=True)
        part = place / f".fetch-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            repository, files = part / "git", part / "files"
            files.mkdir(parents=True)
            self._git(use, "init", "-q", "--bare", "--template=", str(repository))
            where = (f"--git-dir={repository}",)
            wanted = commit or use.ref
            self._git(
                use,
                *where,
                "fetch",
                "-q",
                "--depth=1",
                "--no-tags",
                "--no-recurse-submodules",
                self._url(use),
                wanted,
            )
            got = self._git(use, *where, "rev-parse", "FETCH_HEAD^{commit}").strip()
            if commit and got != commit:
                raise FetchError(f"{use}: asked for {commit}, got {got}")
            self._git(use, *where, f"--work-tree={files}", "checkout", "-q", "-f", got, "--", ".")
            target = place / got
            if not target.exists():
                try:
                    files.rename(target)
                except OSError:
                    if not target.exists():
                        raise
        except OSError as error:
            raise FetchError(f"{use}: cannot be kept in {place}: {error.strerror}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        if not commit and not is_commit(use.ref):
            self._remember(use, got)
        return got

    def _remember(self, use: RepositoryUse, commit: str) -> None:
        path = self._ref_path(use)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(commit + "\n", "ascii")
        part.replace(path)

    def _place(self, use: RepositoryUse) -> Path:
        return self._folder / use.owner.lower() / use.repo.lower()

    def _ref_path(self, use: RepositoryUse) -> Path:
        return self._place(use) / "refs" / use.ref.replace("%", "%25").replace("/", "%2F")

    def _url(self, use: RepositoryUse) -> str:
        return f"{self._server_url}/{use.owner}/{use.repo}"

    def _git(self, use: RepositoryUse, *arguments: str, timeout_s: int = FETCH_TIMEOUT_S) -> str:
        try:
            done = subprocess.run(
                ["git", *_GIT_OPTIONS, *arguments],
                env=self._environ,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=timeout_s,
            )
        except FileNotFoundError as error:
            raise FetchError(f"{use}: git is needed to fetch actions, and it is not on PATH") from error
        except subprocess.TimeoutExpired as error:
            raise FetchError(
                f"{use}: {self._url(use)} did not answer within {timeout_s} s", hint=_OFFLINE_HINT
            ) from error
        if done.returncode != 0:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise FetchError(
                f"{use}: cannot be fetched from {self._url(use)}: {lines[-1] if lines else 'git failed'}",
                hint=_OFFLINE_HINT,
            )
        return done.stdout.decode("utf-8", "replace")


_OFFLINE_HINT = (
    "An action is fetched once and kept. Without a network, give a copy of it: "
    "--local-repository owner/repo@ref=PATH"
)
