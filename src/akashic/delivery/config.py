"""`akashic.yaml` as values: environments with their targets, checks and protection rules, and what else it
holds.

The structures below are the file's grammar: a field is a key, a default makes it optional, and docstrings
become the descriptions in the JSON schema for editors. Times are seconds (`_s`) or minutes (`_minutes`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from akashic.delivery.slugs import slug_of
from akashic.images.spec import ImageSpec
from akashic.notify.config import NotifyConfig
from akashic.source.sizes import SIZE_PATTERN

INSTANCES_MAX = 8
REVIEWERS_MAX = 6
WAIT_MINUTES_MAX = 43_200
CHECKS_MAX = 50
SETTLE_DEFAULT_S = 5.0
SLUG = "${slug}"

Port = Annotated[int, Meta(ge=1, le=65_535)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
PositiveSeconds = Annotated[float, Meta(gt=0, le=86_400)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class ServiceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backing service of an environment; its data is kept. `image` is written as in a workflow
    (`postgres:16`, `redis:7`) and served by a native provider. `port` is remembered when it is 0."""

    image: str
    env: dict[str, str] = {}
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0


class LocalTarget(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="local", forbid_unknown_fields=True
):
    """A release runs as supervised processes on this machine, behind a reverse proxy.

    `port` is the proxy's (0: a free one, remembered). `command` replaces the release's own. `env` values may
    hold `${port}`, `${environment}`, `${url}`, `${version}`, `${commit}`, `${release}`, `${data}` (a folder
    of the environment that is kept), `${services.NAME.url|host|port|user|password|database}`,
    `${secrets.NAME}` and `$$` for a dollar sign; PORT is always set. `release_command` runs once before the
    new instances start (migrations). `start_timeout_s` is how long an instance may take to become healthy. An
    instance that is asked to stop has `drain_timeout_s` to finish what it accepted.
    """

    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    command: tuple[str, ...] = ()
    instances: Annotated[int, Meta(ge=1, le=INSTANCES_MAX)] = 1
    env: dict[str, str] = {}
    services: dict[Name, ServiceConfig] = {}
    release_command: tuple[str, ...] = ()
    release_timeout_s: PositiveSeconds = 300.0
    start_timeout_s: PositiveSeconds = 60.0
    drain_timeout_s: Seconds = 30.0
    log_bytes_max: Annotated[int, Meta(ge=65_536)] = 10_000_000


class DockerTarget(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="docker", forbid_unknown_fields=True
):
    """A release runs as containers of this machine's engine, behind the same reverse proxy as local ones.

    The keys mean what they mean for a local target. PORT is `container_port`, the port that the image listens
    on (0: the first one that it exposes); it is published on the loopback address only. `${data}` is `/data`
    in the containers, a folder of the environment that is kept. `network` is an existing network that they
    join, for backing services that run as containers (`NAME_default` of a compose file); there are no
    `${services…}`.
    """

    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    container_port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    network: str = ""
    command: tuple[str, ...] = ()
    instances: Annotated[int, Meta(ge=1, le=INSTANCES_MAX)] = 1
    env: dict[str, str] = {}
    release_command: tuple[str, ...] = ()
    release_timeout_s: PositiveSeconds = 300.0
    start_timeout_s: PositiveSeconds = 60.0
    drain_timeout_s: Seconds = 30.0
    log_bytes_max: Annotated[int, Meta(ge=65_536)] = 10_000_000


class MemoryTarget(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="memory", forbid_unknown_fields=True
):
    """Nothing is started: for trying out rules and pipelines. Forgotten when the process ends."""


Target = LocalTarget | DockerTarget | MemoryTarget


class HealthConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an instance is well: a GET of `path` answers `status` within `timeout_s`, asked every
    `interval_s`; `failures` in a row while a deployment settles mean that it is not."""

    path: Annotated[str, Meta(pattern="^/")] = "/"
    status: Annotated[int, Meta(ge=100, le=599)] = 200
    timeout_s: PositiveSeconds = 3.0
    interval_s: PositiveSeconds = 0.5
    failures: Annotated[int, Meta(ge=1)] = 3


class CheckConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to the deployed release and what its answer must be. `status` lists what is accepted. `json`
    maps a dotted path (`database.ok`) to the value it must have; `headers` name values that must be
    contained."""

    path: Annotated[str, Meta(pattern="^/")]
    name: str = ""
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] = "GET"
    request_headers: dict[str, str] = {}
    body: str = ""
    status: tuple[int, ...] = (200,)
    json: dict[str, Any] = {}
    contains: str = ""
    headers: dict[str, str] = {}
    timeout_s: PositiveSeconds = 5.0
    attempts: Annotated[int, Meta(ge=1, le=20)] = 1


class StrategyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a new release takes over. `blue-green` starts all new instances beside the old ones and switches at
    once. `rolling` replaces instances a few at a time: at most `max_unavailable_percent` of them (rounded
    down) lack, at most `max_surge_percent` (rounded up) run besides. After the switch the release must stay
    healthy for `settle_s`."""

    type: Literal["blue-green", "rolling"] = "blue-green"
    max_unavailable_percent: Annotated[int, Meta(ge=0, le=100)] = 25
    max_surge_percent: Annotated[int, Meta(ge=1, le=100)] = 25
    settle_s: Seconds = SETTLE_DEFAULT_S

    def unavailable_max(self, instances: int) -> int:
        """How many instances may lack while a release rolls."""
        return instances * self.max_unavailable_percent // 100 if self.type == "rolling" else 0

    def surge_max(self, instances: int) -> int:
        """How many instances may run besides while a release rolls; 0: it does not roll."""
        return -(-instances * self.max_surge_percent // 100) if self.type == "rolling" else 0


class ApprovalsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who must agree. `reviewers` are user names of this machine (empty: anyone may); `count` of them must
    approve; the one who started the deployment counts only with `author_may_approve`."""

    reviewers: Annotated[tuple[str, ...], Meta(max_length=REVIEWERS_MAX)] = ()
    count: Annotated[int, Meta(ge=0, le=REVIEWERS_MAX)] = 1
    author_may_approve: bool = True


class PreviewConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Makes the environment a template: each branch gets an environment of its own, `NAME/SLUG`, at the
    environment's `url`, in which `${slug}` stands for the branch as a label of a host name. All share the
    target's `port`. One is removed with its data `ttl_hours` after its last deployment (0: never)."""

    ttl_hours: Annotated[float, Meta(ge=0, le=8_760)] = 72.0


class EnvironmentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place that releases go to, and the rules that protect it.

    `branches` are patterns of branches and tags that may deploy here (empty: all). `secrets` are the scopes
    that `${secrets.NAME}` is looked up in besides the repository's own; the environment's own is always one.
    `vars` are what workflows read as `vars` in jobs of this environment. `notifications` names receivers;
    empty: all of them. `promote_from` names the environments whose releases may come here (empty: any).
    """

    url: str = ""
    target: Target = LocalTarget()
    strategy: StrategyConfig = StrategyConfig()
    health: HealthConfig = HealthConfig()
    smoke: Annotated[tuple[CheckConfig, ...], Meta(max_length=CHECKS_MAX)] = ()
    approvals: ApprovalsConfig | None = None
    wait_timer_minutes: Annotated[float, Meta(ge=0, le=WAIT_MINUTES_MAX)] = 0.0
    branches: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    vars: dict[str, str] = {}
    notifications: tuple[str, ...] = ()
    promote_from: tuple[str, ...] = ()
    preview: PreviewConfig | None = None


class JobLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one job may take at most, all of its processes together: `memory` as `512m` or `4g`, `processes`
    as a number; empty and 0 limit nothing. `--memory` and `--processes` come first."""

    memory: Annotated[str, Meta(pattern=f"{SIZE_PATTERN}|^$")] = ""
    processes: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole `akashic.yaml`. `labels` maps a `runs-on` label to the image that stands for it in container
    executors, or to `-self-hosted` for this machine. `vars` are what workflows read as `vars`."""

    name: str = ""
    image: ImageSpec | None = None
    labels: dict[str, str] = {}
    job_limits: JobLimits = JobLimits()
    vars: dict[str, str] = {}
    environments: dict[Name, EnvironmentConfig] = {}
    notifications: NotifyConfig = NotifyConfig()

    def environment(self, name: str) -> EnvironmentConfig | None:
        """The environment's configuration; names are compared as GitHub does, without regard to case. That
        of a preview (`preview/feature/x`) is its template's with its address."""
        return self.find(name)[1]

    def find(self, name: str) -> tuple[str, EnvironmentConfig | None]:
        """The same, with the name as it is written in the file; a preview's is `preview/feature-x`."""
        wanted = name.casefold()
        for known, environment in self.environments.items():
            if known.casefold() == wanted:
                return known, environment
            if environment.preview is not None and wanted.startswith(f"{known.casefold()}/"):
                # The case of a branch is its own: only the template's name is compared without it.
                slug = slug_of(name[len(known) + 1 :])
                if slug:
                    url = environment.url.replace(SLUG, slug)
                    return f"{known}/{slug}", msgspec.structs.replace(environment, url=url)
        return name, None
