"""Images of an engine."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from akashic.cancellation import Cancellation
from akashic.containers import auth
from akashic.containers.errors import BuildFailed, EngineError, NoSpace, NotFound, PullFailed, refused
from akashic.containers.references import is_image_id, parse_image_name
from akashic.containers.streams import json_objects
from akashic.containers.transport import Transport

PullPolicy = Literal["always", "missing", "never"]
BUILD_TAIL_LINES = 30
_DENIED = re.compile(r"denied|unauthorized|authentication required|no basic auth", re.IGNORECASE)
_ABSENT = re.compile(r"not found|manifest unknown|does not exist|no such image", re.IGNORECASE)
_NETWORK = re.compile(
    r"dial tcp|no such host|i/o timeout|connection refused|tls handshake|EOF", re.IGNORECASE
)

Say = Callable[[str], None]
"""Takes one line, without its end."""


class ImageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine knows of an image. `env` is NAME to value; `health` the image's own check as the API
    has it; `created` is RFC 3339, `layers` their digests, `volumes` folders inside the container."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    env: dict[str, str] = {}
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    labels: dict[str, str] = {}
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    health: dict[str, Any] | None = None
    os: str = ""
    architecture: str = ""
    size_bytes: int = 0
    created: str = ""
    layers: tuple[str, ...] = ()


class ImageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An image in a list; `created_at` in seconds since 1970."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    size_bytes: int = 0
    created_at: int = 0


class Images:
    """The engine's images; `environ` is where the user's registry settings are found."""

    def __init__(self, transport: Transport, environ: Mapping[str, str]) -> None:
        self._transport = transport
        self._environ = environ

    def inspect(self, image: str) -> ImageInfo:
        """Raises NotFound when the engine has no such image."""
        found = self._transport.call("GET", f"/images/{image}/json")
        config = found.get("Config") or found.get("ContainerConfig") or {}
        return ImageInfo(
            id=found["Id"],
            tags=tuple(found.get("RepoTags") or ()),
            digests=tuple(found.get("RepoDigests") or ()),
            env=dict(item.partition("=")[::2] for item in config.get("Env") or ()),
            entrypoint=tuple(config.get("Entrypoint") or ()),
            command=tuple(config.get("Cmd") or ()),
            user=config.get("User") or "",
            workdir=config.get("WorkingDir") or "",
            labels=dict(config.get("Labels") or {}),
            volumes=tuple(config.get("Volumes") or ()),
            ports=tuple(config.get("ExposedPorts") or ()),
            health=config.get("Healthcheck") or None,
            os=found.get("Os") or "",
            architecture=found.get("Architecture") or "",
            size_bytes=int(found.get("Size") or 0),
            created=found.get("Created") or "",
            layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
        )

    def exists(self, image: str) -> bool:
        with contextlib.suppress(NotFound):
            self.inspect(image)
            return True
        return False

    def list(self, *, labels: Sequence[str] = (), reference: str = "") -> Sequence[ImageSummary]:
        """Images with all of these labels (`name` or `name=value`), called as the pattern says."""
        filters = {name: list(values) for name, values in (("label", labels),) if values}
        if reference:
            filters["reference"] = [reference]
        found = self._transport.call("GET", "/images/json", query={"filters": json.dumps(filters)})
        return [
            ImageSummary(
                id=item["Id"],
                tags=tuple(tag for tag in item.get("RepoTags") or () if tag != "<none>:<none>"),
                digests=tuple(item.get("RepoDigests") or ()),
                labels=dict(item.get("Labels") or {}),
                size_bytes=int(item.get("Size") or 0),
                created_at=int(item.get("Created") or 0),
            )
            for item in found or ()
        ]

    def ensure(
        self,
        image: str,
        policy: PullPolicy,
        *,
        say: Say,
        cancellation: Cancellation,
        credentials: auth.Credentials | None = None,
        platform: str = "",
        anonymous: bool = False,
    ) -> ImageInfo:
        """Have the image, as the policy says: `always` asks the registry first, `missing` when the engine has
        none, `never` not at all. `anonymous` leaves the user's own credentials alone. Raises PullFailed,
        UsageError for what is no name."""
        if not is_image_id(image):
            parse_image_name(image)
        if policy != "always" or is_image_id(image):
            with contextlib.suppress(NotFound):
                return self.inspect(image)
        if policy == "never" or is_image_id(image):
            raise PullFailed(
                f"the engine has no image {image}, and it must not be pulled",
                hint=f"pull it yourself (`docker pull {image}`), or allow it: --pull-policy missing",
            )
        self.pull(
            image,
            say=say,
            cancellation=cancellation,
            credentials=credentials,
            platform=platform,
            anonymous=anonymous,
        )
        return self.inspect(image)

    def pull(
        self,
        image: str,
        *,
        say: Say,
        cancellation: Cancellation,
        credentials: auth.Credentials | None = None,
        platform: str = "",
        anonymous: bool = False,
    ) -> None:
        """Get an image from its registry, with these credentials or, unless `anonymous`, the user's own.
        Raises PullFailed, NoSpace."""
        name = parse_image_name(image)
        known = credentials
        if known is None and not anonymous:
            known = auth.find_credentials(name.registry, self._environ)
        headers = {"X-Registry-Auth": known.header()} if known else {}
        query = {
            "fromImage": f"{name.registry}/{name.repository}" + (f"@{name.digest}" if name.digest else ""),
            "tag": None if name.digest else name.tag,
            "platform": platform or None,
        }
        say(f"Pulling {name.familiar}")
        try:
            with self._transport.stream(
                "POST", "/images/create", query=query, headers=headers, cancellation=cancellation
            ) as response:
                self._follow(response, say)
        except NoSpace:
            raise
        except EngineError as error:
            raise _pull_failed(image, error, with_credentials=known is not None) from error

    def push(
        self,
        image: str,
        *,
        say: Say,
        cancellation: Cancellation,
        credentials: auth.Credentials | None = None,
    ) -> str:
        """Send a tagged image to its registry; its digest there, empty when the engine does not tell. Raises
        EngineError."""
        name = parse_image_name(image)
        known = credentials or auth.find_credentials(name.registry, self._environ)
        # The header must be there: an engine refuses a push without it, also to a registry that asks for
        # nothing.
        header = known.header() if known else base64.urlsafe_b64encode(b"{}").decode()
        repository = name.familiar.rpartition(":")[0] if not name.digest else name.familiar
        digest = ""
        with self._transport.stream(
            "POST",
            f"/images/{repository}/push",
            query={"tag": name.tag},
            headers={"X-Registry-Auth": header},
            cancellation=cancellation,
        ) as response:
            for item in self._objects(response, say):
                aux = item.get("aux")
                if isinstance(aux, dict) and aux.get("Digest"):
                    digest = str(aux["Digest"])
        return digest

    def tag(self, image: str, name: str) -> None:
        """Give an image one more name."""
        parsed = parse_image_name(name)
        repository = parsed.familiar.rpartition(":")[0]
        self._transport.call("POST", f"/images/{image}/tag", query={"repo": repository, "tag": parsed.tag})

    def remove(self, image: str, *, force: bool = False) -> None:
        """Remove a name, and the image when it was the last one. Nothing happens when it is gone already."""
        with contextlib.suppress(NotFound):
            self._transport.call("DELETE", f"/images/{image}", query={"force": force, "noprune": False})

    def import_archive(
        self, archive: Iterable[bytes], name: str, *, changes: Sequence[str] = (), cancellation: Cancellation
    ) -> str:
        """An image of one layer from a tar of a root file system (`docker import`); its id."""
        parsed = parse_image_name(name)
        query = {"fromSrc": "-", "repo": parsed.familiar.rpartition(":")[0], "tag": parsed.tag}
        with self._transport.stream(
            "POST",
            "/images/create",
            query={**query, "changes": "\n".join(changes) or None},
            body=archive,
            headers={"Content-Type": "application/x-tar"},
            cancellation=cancellation,
        ) as response:
            found = [str(item["status"]) for item in self._objects(response, _silent) if item.get("status")]
        return found[-1] if found else ""

    def build(
        self,
        context: Iterable[bytes],
        *,
        dockerfile: str = "Dockerfile",
        tags: Sequence[str] = (),
        build_args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        target: str = "",
        platform: str = "",
        network: str = "",
        pull: bool = False,
        anonymous: bool = False,
        say: Say,
        cancellation: Cancellation,
    ) -> str:
        """Build a Dockerfile from a context (a tar, in pieces) with the engine's classic builder; the image's
        id. `anonymous` leaves the user's credentials alone. Raises BuildFailed with the end of the build's
        log."""
        query: dict[str, str | int | bool | None] = {
            "dockerfile": dockerfile,
            "t": tags[0] if tags else None,
            "buildargs": json.dumps(dict(build_args)) if build_args else None,
            "labels": json.dumps(dict(labels)) if labels else None,
            "target": target or None,
            "platform": platform or None,
            "networkmode": network or None,
            "pull": True if pull else None,
            "rm": True,
            "forcerm": True,
        }
        headers = {
            "Content-Type": "application/x-tar",
            "X-Registry-Config": _registry_config({} if anonymous else auth.all_credentials(self._environ)),
        }
        tail: list[str] = []

        def tell(line: str) -> None:
            tail.append(line)
            del tail[:-BUILD_TAIL_LINES]
            say(line)

        image = ""
        try:
            with self._transport.stream(
                "POST", "/build", query=query, body=context, headers=headers, cancellation=cancellation
            ) as response:
                for item in self._objects(response, tell):
                    aux = item.get("aux")
                    if isinstance(aux, dict) and aux.get("ID"):
                        image = str(aux["ID"])
        except NoSpace:
            raise
        except EngineError as error:
            raise _build_failed(dockerfile, error, tail) from error
        for name in tags[1:]:
            self.tag(image, name)
        return image

    def _follow(self, response: Any, say: Say) -> None:
        for _ in self._objects(response, say):
            continue

    def _objects(self, response: Any, say: Say) -> Iterator[dict[str, Any]]:
        """The stream's objects; what it says is passed on as lines, an error in it is raised."""
        last: dict[str, str] = {}
        rest = ""
        for item in json_objects(response):
            if "error" in item or "errorDetail" in item:
                detail = item.get("errorDetail")
                raise refused(0, str(item.get("error") or (detail or {}).get("message") or "unknown error"))
            if "stream" in item:
                *lines, rest = (rest + str(item["stream"])).split("\n")
                for line in lines:
                    say(line.rstrip("\r"))
            elif "status" in item and not item.get("progress"):
                layer, status = str(item.get("id") or ""), str(item["status"])
                # Bars that move are for terminals; a layer's every new state is one line.
                if last.get(layer) != status:
                    last[layer] = status
                    say(f"{layer}: {status}" if layer else status)
            yield item
        if rest:
            say(rest)


def _silent(_: str) -> None:
    return


def _registry_config(everybody: Mapping[str, auth.Credentials]) -> str:
    """The header `X-Registry-Config`: the credentials of all registries, for the images that a build starts
    from."""
    registries = {
        name: {
            "username": known.username,
            "password": known.password,
            "identitytoken": known.identity_token,
        }
        for name, known in everybody.items()
    }
    return base64.urlsafe_b64encode(json.dumps(registries).encode()).decode()


def _build_failed(dockerfile: str, error: EngineError, tail: Sequence[str]) -> BuildFailed:
    shown = "\n".join(tail)
    reason = error.message.removeprefix("the container engine says: ")
    return BuildFailed(
        f"{dockerfile} cannot be built: {reason}" + (f"\n{shown}" if shown else ""), hint=error.hint
    )


def _pull_failed(image: str, error: EngineError, *, with_credentials: bool) -> PullFailed:
    reason = error.message.removeprefix("the container engine says: ")
    if _NETWORK.search(reason):
        hint = (
            "the registry cannot be reached from the engine; "
            "an image that is there is used with --pull-policy missing"
        )
    elif _DENIED.search(reason):
        hint = (
            "the credentials that were used are not enough: log in again with `docker login`"
            if with_credentials
            else "the image does not exist, or asks for a login: `docker login`, or `credentials:` in the "
            "workflow"
        )
    elif _ABSENT.search(reason):
        hint = "check the name and the tag"
    else:
        hint = error.hint
    return PullFailed(f"image {image} cannot be pulled: {reason}", hint=hint)
