"""The options of `akashic run` about containers, spelled as act spells them.

Source of names: act's usage page and its `--help`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from akashic.cli.command import CommandContext
from akashic.errors import UsageError
from akashic.executors.container_options import HOST_IMAGE, IMAGES_OPTION, ContainerOptions
from akashic.executors.registry import EXECUTORS

_WITHOUT = {
    "--network": "each job has a network of its own, in which services are reached by their names",
    "--rebuild": "an action's image is built again when its files change; docker rmi removes one",
}
"""Options of act that are answered with what to do."""


def configure_containers(parser: argparse.ArgumentParser) -> None:
    """Options that say how containers are made."""
    where = parser.add_argument_group("containers")
    where.add_argument(
        "-P",
        "--platform",
        action="append",
        default=[],
        metavar="LABEL=IMAGE",
        help=f"the image that stands for a runs-on label; LABEL={HOST_IMAGE} means this machine",
    )
    where.add_argument(
        "-p", "--pull", "--pull=true", action="store_const", const="always", help="always pull images"
    )
    # Its own option, because a value that may be left out would swallow the event's name.
    where.add_argument(
        "--pull=false", dest="pull", action="store_const", const="missing", help="pull missing images only"
    )
    where.add_argument(
        "--pull-policy",
        dest="pull",
        choices=("always", "missing", "never"),
        help="when images are pulled (missing)",
    )
    where.add_argument(
        "--container-options",
        default="",
        metavar="OPTIONS",
        help="docker create options of job containers that give none",
    )
    where.add_argument(
        "--container-cap-add", action="append", default=[], metavar="CAP", help="add a kernel capability"
    )
    where.add_argument(
        "--container-cap-drop", action="append", default=[], metavar="CAP", help="drop a kernel capability"
    )
    where.add_argument(
        "--container-architecture", default="", metavar="OS/ARCH", help="the images' platform: linux/amd64"
    )
    where.add_argument(
        "--container-daemon-socket",
        default="",
        metavar="PATH",
        help="mount this engine socket into containers; who reaches it is root (mounts none)",
    )
    where.add_argument(
        "--privileged", action="store_true", help="privileged containers: root on this machine"
    )
    where.add_argument("--userns", default="", metavar="MODE", help="the containers' user namespace: host")
    for option, hint in _WITHOUT.items():
        parser.add_argument(
            option, action=_Answer, nargs="?", const=hint, dest=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    # The image is built again only when its files change, as this asks.
    parser.add_argument(
        "--rebuild=false", action="store_true", dest=argparse.SUPPRESS, help=argparse.SUPPRESS
    )


class _Answer(argparse.Action):
    """Refuses an option with what to do instead."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        raise UsageError(f"{option_string} of act is not known here", hint=str(self.const))


def configure_executor(parser: argparse.ArgumentParser) -> None:
    """The option of a new run; another attempt stays where the run began."""
    parser.add_argument("--executor", choices=EXECUTORS, default="host", help="where jobs run (host)")


def recorded_options(args: argparse.Namespace) -> dict[str, Any]:
    """What a run's record keeps of the options: later attempts run in the same images. Raises UsageError."""
    images = _images(getattr(args, "platform", []))
    return {IMAGES_OPTION: images} if images and args.executor != "host" else {}


def container_options_of(args: argparse.Namespace, context: CommandContext) -> ContainerOptions:
    """What the options ask for. Raises UsageError."""
    return ContainerOptions(
        images=_images(args.platform),
        pull=args.pull or "missing",
        options=args.container_options,
        cap_add=tuple(args.container_cap_add),
        cap_drop=tuple(args.container_cap_drop),
        platform=_platform(args.container_architecture),
        privileged=args.privileged,
        userns=args.userns,
        daemon_socket=_socket(args.container_daemon_socket, context),
    )


def _images(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in given:
        label, _, image = item.partition("=")
        if not label.strip() or not image.strip():
            raise UsageError(
                f"-P {item}: expected LABEL=IMAGE", hint="for example: -P ubuntu-latest=node:22-bookworm"
            )
        found[label.strip().lower()] = image.strip()
    return found


def _platform(text: str) -> str:
    if text and (len(text.split("/")) not in (2, 3) or not all(text.split("/"))):
        raise UsageError(
            f"--container-architecture {text}: expected OS/ARCH", hint="for example: linux/amd64"
        )
    return text


def _socket(text: str, context: CommandContext) -> str:
    """The socket's absolute path; act's `-` means none."""
    if text in ("", "-"):
        return ""
    path = text.removeprefix("unix://")
    if "://" in path:
        raise UsageError(
            f"--container-daemon-socket {text}: expected unix:///path/to/docker.sock, a path, or -",
            hint="which engine runs the jobs is said by DOCKER_HOST or `docker context`",
        )
    home = context.environ.get("HOME", "")
    if path.startswith("~/") and home:
        path = home + path[1:]
    place = Path(context.cwd / path)
    if not place.is_socket():
        raise UsageError(f"--container-daemon-socket {text}: {place} is no socket")
    return str(place)
