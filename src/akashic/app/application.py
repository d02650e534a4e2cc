"""The parts of Akashic for one repository, built when they are first asked for.

Imports stand inside the properties on purpose: this is the door, and a command pays only for what it uses.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from akashic.app.commit_memory import CommitMemory
from akashic.app.identity import SystemClock, user_name
from akashic.app.repository import Look, Repository, find_root, state_folder
from akashic.delivery import CONFIG_NAME
from akashic.driver.ports import Clock
from akashic.secrets import FILE_NAME as SECRETS_NAME
from akashic.source.sizes import size_bytes

if TYPE_CHECKING:
    from akashic.app.local_secrets import LocalSecrets
    from akashic.delivery.config import Config
    from akashic.delivery.gates import EnvironmentGates
    from akashic.delivery.releases import Releases
    from akashic.delivery.service import Deployments
    from akashic.journal.artifacts import ArtifactStore
    from akashic.journal.blobs import BlobStore
    from akashic.journal.caches import CacheStore
    from akashic.journal.logs import LogStore
    from akashic.journal.sqlite import SqliteJournal
    from akashic.notify.message import Message
    from akashic.notify.notifier import Delivery, Notifier
    from akashic.secrets.file import SecretsFile


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What of `akashic.yaml` concerns every run: variables (for all jobs, for those of an environment), what
    stands for a `runs-on` label in container executors, and what a job may take (None: anything)."""

    vars: dict[str, str] = {}
    environment_vars: dict[str, dict[str, str]] = {}
    labels: dict[str, str] = {}
    memory_bytes_max: int | None = None
    processes_max: int | None = None


class Application:
    """The composition root. Attributes are the parts; each is made once."""

    def __init__(self, root: Path, state_dir: Path, environ: Mapping[str, str]) -> None:
        self.root = root
        self.state_dir = state_dir
        self.environ = environ
        self.clock: Clock = SystemClock()
        self.say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
        self._look: Look | None = None
        self._later: list[Callable[[], None]] = []

    @classmethod
    def open(cls, cwd: Path, environ: Mapping[str, str], *, keeps: bool = True) -> Application:
        """The parts for the repository around `cwd`; inside a step, those of the run that the step is of.
        Without `keeps` no folder is made for what is kept: for who only reads the checkout.

        Raises UsageError outside a git checkout, or where no state can be kept.
        """
        if environ.get("AKASHIC_ROOT") and environ.get("AKASHIC_STATE"):
            return cls(Path(environ["AKASHIC_ROOT"]), Path(environ["AKASHIC_STATE"]), environ)
        root, _ = find_root(cwd)
        return cls(root, state_folder(root, environ, make=keeps), environ)

    @cached_property
    def user(self) -> str:
        """Who runs this command, as the machine knows them."""
        return user_name(self.environ)

    def look_at_repository(self) -> None:
        """Have git begin with what `repository` will ask for."""
        self._look = self._look or Look(self.root, self.environ, CommitMemory(self.state_dir))

    @cached_property
    def repository(self) -> Repository:
        self.look_at_repository()
        assert self._look is not None
        return self._look.result()

    @property
    def commit(self) -> str:
        return self.repository.commit

    @cached_property
    def user_cache(self) -> Path:
        """Where fetched actions and tools are kept for all repositories of this user; with the state of this
        one where the user has no folder to write to."""
        base = self.environ.get("XDG_CACHE_HOME", "")
        home = self.environ.get("HOME", "")
        if not home.startswith("/"):
            home = _account_home()
        # Never below /tmp, where anybody could have put an action for us.
        folder = (Path(base) if base.startswith("/") else Path(home) / ".cache") / "akashic"
        nearest = next(place for place in (folder, *folder.parents) if os.access(place, os.F_OK))
        usable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
        return folder if usable else self.state_dir / "user-cache"

    @cached_property
    def journal(self) -> SqliteJournal:
        from akashic.journal.sqlite import SqliteJournal

        journal = SqliteJournal(self.state_dir / "journal.db")
        lost = journal.lost_tail()
        if lost is not None:
            self.say(f"warning: {lost.message}; akashic journal verify --help names the ways on")
        return journal

    def later(self, task: Callable[[], None]) -> None:
        """Have `task` done when everybody has been told everything. The end of the process must do it too."""
        self._later.append(task)

    def tidy(self) -> None:
        """Do what was left for later, the newest first, and leave the journal as fast to open as it can be.
        What one of them raises is raised when all have had their turn."""
        with ExitStack() as tasks:
            if "journal" in self.__dict__:
                tasks.callback(self.journal.tidy)
            for task in self._later:
                tasks.callback(task)
            self._later.clear()

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
        """`akashic.yaml`, or its defaults where there is none. Raises InvalidInput with every problem."""
        path = self.root / CONFIG_NAME
        if not path.is_file():
            from akashic.delivery.config import Config

            return Config()
        from akashic.delivery.config_file import parse_config

        return parse_config(path.read_bytes(), CONFIG_NAME)

    @cached_property
    def run_settings(self) -> RunSettings:
        """What `akashic.yaml` says of runs; nothing that reads it is loaded where there is none. Raises
        InvalidInput."""
        if not (self.root / CONFIG_NAME).is_file():
            return RunSettings()
        config = self.config
        return RunSettings(
            vars=config.vars,
            environment_vars={
                name if environment.preview is None else f"{name}/*": dict(environment.vars)
                for name, environment in config.environments.items()
                if environment.vars
            },
            labels=config.labels,
            memory_bytes_max=size_bytes(config.job_limits.memory),
            processes_max=config.job_limits.processes or None,
        )

    # Secrets.

    @cached_property
    def secrets(self) -> SecretsFile:
        from akashic.secrets.file import SecretsFile

        return SecretsFile(self.root / SECRETS_NAME, environ=self.environ, now=self.clock.now)

    @cached_property
    def local_secrets(self) -> LocalSecrets:
        from akashic.app.local_secrets import LocalSecrets

        return LocalSecrets(self.state_dir, clock=self.clock)

    @property
    def in_step(self) -> bool:
        """Whether this process is a command that a step of a run called."""
        return bool(self.environ.get("AKASHIC_RUN_ID"))

    def secrets_of(self, environment: str) -> dict[str, str]:
        """The secrets that a trusted job of an environment ("" for none) may see. Raises SecretsError when
        there are some and the key is missing."""
        if not (self.root / SECRETS_NAME).exists():
            return {}
        found = self.config.environment(environment) if environment else None
        also = found.secrets if found is not None else ()
        return self.secrets.resolve(self._scope(environment), also=also)

    def _scope(self, environment: str) -> str:
        """Whose secrets an environment gets: its own, a preview those of its template."""
        name, found = self.config.find(environment)
        return name.partition("/")[0] if found is not None and found.preview is not None else name

    def target_secrets(self, environment: str) -> Mapping[str, str]:
        """What `${secrets.NAME}` in an environment's target stands for. Inside a step the user's key is out
        of reach; what the target needs was put beside the state before the job began."""
        if self.in_step:
            return self.local_secrets.of(self._scope(environment))
        self.prepare_secrets(environment)
        return {**self.local_secrets.of(self._scope(environment)), **self.secrets_of(environment)}

    def prepare_secrets(self, environment: str) -> list[str]:
        """Have all secrets that a local target names at hand; the names of those that had to be made up."""
        scope = self._scope(environment)
        return self.local_secrets.complete(scope, self.config, self.secrets_of(environment))

    # Delivery.

    @cached_property
    def releases(self) -> Releases:
        from akashic.delivery.releases import Releases

        return Releases(journal=self.journal, folder=self.state_dir / "releases", clock=self.clock)

    @cached_property
    def gates(self) -> EnvironmentGates:
        from akashic.delivery.gates import EnvironmentGates

        return EnvironmentGates(
            config=self.config, journal=self.journal, releases=self.releases, clock=self.clock
        )

    @cached_property
    def notifier(self) -> Notifier:
        from akashic.notify.notifier import Notifier

        return Notifier(
            self.config.notifications,
            secret=lambda name: {**self.local_secrets.of(""), **self.secrets_of("")}.get(name),
            say=self.say,
            report=self._undelivered,
            now=self.clock.now,
        )

    @cached_property
    def deployments(self) -> Deployments:
        from akashic.delivery.service import Deployments

        return Deployments(
            config=self.config,
            journal=self.journal,
            releases=self.releases,
            gates=self.gates,
            clock=self.clock,
            state_dir=self.state_dir,
            secrets=self.target_secrets,
            notify=self._notify,
            notify_only=self._notify_only,
            progress=self._progress,
        )

    def _undelivered(self, delivery: Delivery) -> None:
        if delivery.status == "failed":
            self.say(f"warning: notification to {delivery}")

    def _notify(self, message: Message) -> None:
        self.notifier.send(message)

    def _notify_only(self, message: Message, receivers: tuple[str, ...]) -> None:
        self.notifier.send(message, receivers=receivers)

    def _progress(self, environment: str, text: str) -> None:
        self.say(f"[{environment}] {text}")

    def prepare_environment(self, name: str) -> None:
        """Before a job of an environment starts: its local target must be awake outside of the job, whose
        processes all die with it, and the target's secrets at hand."""
        from akashic.delivery.config import DockerTarget, LocalTarget

        environment = self.config.environment(name)
        if environment is None or not isinstance(environment.target, LocalTarget | DockerTarget):
            return
        from akashic.delivery.local.client import ensure_running

        self.prepare_secrets(name)
        ensure_running(self.state_dir)

    def recover(self) -> list[str]:
        """Take on the deployments that dead processes left; a line for each that changed."""
        return [
            f"{one.request.environment}: deployment {one.request.number} of {one.request.release.version} "
            f"was taken up, since nobody drove it, and is now {one.status}"
            for one in self.deployments.recover()
        ]


def _account_home() -> str:
    """The home folder of this user's account; the root folder for one who has no account."""
    import pwd  # only where somebody has no HOME

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"
