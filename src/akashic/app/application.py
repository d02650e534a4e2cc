"""The parts of Akashic for one repository, built when they are first asked for.

Imports stand inside the properties on purpose: this is the door, and a command pays only for what it uses.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from akashic.app.identity import SystemClock, user_name
from akashic.app.repository import Repository, find_root, read_repository, state_folder
from akashic.driver.ports import Clock

if TYPE_CHECKING:
    from akashic.delivery.config import Config
    from akashic.driver.ports import GatePort
    from akashic.delivery.releases import Releases
    from akashic.delivery.service import Deployments
    from akashic.executors.protocol import Executor
    from akashic.journal.artifacts import ArtifactStore
    from akashic.journal.blobs import BlobStore
    from akashic.journal.caches import CacheStore
    from akashic.journal.logs import LogStore
    from akashic.journal.sqlite import SqliteJournal
    from akashic.notify.notifier import Notifier
    from akashic.secrets.file import SecretsFile


class Application:
    """The composition root. Attributes are the parts; each is made once."""

    def __init__(self, root: Path, state_dir: Path, environ: Mapping[str, str]) -> None:
        self.root = root
        self.state_dir = state_dir
        self.environ = environ
        self.clock: Clock = SystemClock()
        self.user = user_name(environ)

    @classmethod
    def open(cls, cwd: Path, environ: Mapping[str, str]) -> Application:
        """The parts for the repository around `cwd`; inside a step, those of the run that the step is of.

        Raises UsageError outside a git checkout, or where no state can be kept.
        """
        if environ.get("AKASHIC_ROOT") and environ.get("AKASHIC_STATE"):
            return cls(Path(environ["AKASHIC_ROOT"]), Path(environ["AKASHIC_STATE"]), environ)
        root, _ = find_root(cwd)
        return cls(root, state_folder(root, environ), environ)

    @cached_property
    def repository(self) -> Repository:
        return read_repository(self.root, self.environ)

    @property
    def commit(self) -> str:
        return self.repository.commit

    @cached_property
    def user_cache(self) -> Path:
        """Where fetched actions and tools are kept for all repositories of this user."""
        base = self.environ.get("XDG_CACHE_HOME") or str(Path(self.environ.get("HOME", "/tmp")) / ".cache")
        return Path(base) / "akashic"

    @cached_property
    def journal(self) -> SqliteJournal:
        from akashic.journal.sqlite import SqliteJournal

        return SqliteJournal(self.state_dir / "journal.db")

    @cached_property
    def logs(self) -> LogStore:
        from akashic.journal.logs import LogStore

        return LogStore(self.state_dir / "logs")

    @cached_property
    def blobs(self) -> BlobStore:
        from akashic.journal.blobs import BlobStore

        return BlobStore(self.state_dir / "blobs")

    @cached_property
    def artifacts(self) -> ArtifactStore:
        from akashic.journal.artifacts import ArtifactStore

        return ArtifactStore(self.state_dir / "artifacts", now=self.clock.now)

    @cached_property
    def caches(self) -> CacheStore:
        from akashic.journal.caches import CacheStore

        return CacheStore(self.state_dir / "caches", now=self.clock.now)

    @cached_property
    def config(self) -> Config:
        """`akashic.yaml`, or its defaults where there is none. Raises InvalidInput."""
        from akashic.delivery.config import CONFIG_NAME, Config

        path = self.root / CONFIG_NAME
        if not path.is_file():
            return Config()
        from akashic.delivery.config_file import parse_config

        return parse_config(path.read_bytes(), CONFIG_NAME)

    @cached_property
    def secrets(self) -> SecretsFile:
        from akashic.secrets.file import FILE_NAME, SecretsFile

        return SecretsFile(self.root / FILE_NAME, environ=self.environ, now=self.clock.now)

    def secrets_of(self, environment: str) -> dict[str, str]:
        """The secrets that a trusted job of an environment ("" for none) may see."""
        return self.secrets.resolve(environment)

    @cached_property
    def gates(self) -> GatePort:
        from akashic.driver.ports import GatePort

        return EnvironmentGates(
            config=self.config, journal=self.journal, releases=self.releases, clock=self.clock
        )

    def prepare_environment(self, name: str) -> None:
        """Before a job of an environment starts."""
