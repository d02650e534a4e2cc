"""Where a job's folders lie on this machine, in its container, and in the containers of Docker actions.

Source: GitHub's runner (`ContainerInfo`, `ContainerActionHandler`, `ContainerOperationProvider`): `/__w`,
`/__t`, `/__e`, `/github/…`.
"""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass
from typing import Any

from akashic.executors.host.workspace import folder_name
from akashic.executors.protocol import Unsupported

WORK = "/__w"
TEMP = f"{WORK}/_temp"
ACTIONS = f"{WORK}/_actions"
TOOLS = "/__t"
HOME = "/github/home"
WORKFLOW = "/github/workflow"
NODE = "/__e/node"
_FILE_COMMANDS = f"{TEMP}/_runner_file_commands"
_EVENT = f"{TEMP}/_github_workflow"
_ACL_VERSION, _ACL_NOBODY = 2, 0xFFFFFFFF
_ACL_EVERYONE = struct.pack("<I", _ACL_VERSION) + b"".join(
    struct.pack("<HHI", kind, 7, _ACL_NOBODY) for kind in (0x01, 0x04, 0x20)
)
"""Owner, group and others may do all, in the form of the extended attribute `system.posix_acl_default`."""


def bind(source: str, target: str, *, read_only: bool = False) -> dict[str, Any]:
    """A mount of a folder of this machine, as the API wants it."""
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`folder` is the sandbox's own on this machine; `workspace` is as the job sees it."""

    folder: str
    tools: str
    workspace: str

    @classmethod
    def make(cls, folder: str, tools: str, repository: str) -> Layout:
        name = folder_name(repository)
        layout = cls(folder=folder, tools=tools, workspace=f"{WORK}/{name}/{name}")
        for path in (layout.workspace, TEMP, _EVENT, ACTIONS, HOME):
            os.makedirs(layout.host(path), exist_ok=True)
        os.makedirs(tools, exist_ok=True)
        return layout

    def host(self, path: str) -> str:
        """The same file on this machine. Raises Unsupported for one of the image's own."""
        normal = os.path.normpath(path)
        for place, folder in self.places():
            if normal == place or normal.startswith(f"{place}/"):
                return folder + normal[len(place) :]
        raise Unsupported(f"{path} lies inside of the job's container, not on this machine")

    def in_action(self, path: str) -> str:
        """Where a Docker action finds what the job sees at `path`."""
        for place, inside in (
            (self.workspace, "/github/workspace"),
            (_FILE_COMMANDS, "/github/file_commands"),
            (_EVENT, WORKFLOW),
            (TEMP, "/github/runner_temp"),
        ):
            if path == place or path.startswith(f"{place}/"):
                return inside + path[len(place) :]
        return path

    def job_mounts(self) -> list[dict[str, Any]]:
        return [bind(folder, place) for place, folder in self.places()]

    def action_mounts(self) -> list[dict[str, Any]]:
        for path in (_FILE_COMMANDS, _EVENT):
            os.makedirs(self.host(path), exist_ok=True)
        return [
            bind(self.host(path), self.in_action(path))
            for path in (self.workspace, HOME, _EVENT, _FILE_COMMANDS, TEMP)
        ]

    def places(self) -> tuple[tuple[str, str], ...]:
        work = f"{self.folder}/w"
        return (
            (WORK, work),
            (TOOLS, self.tools),
            (HOME, f"{self.folder}/home"),
            (WORKFLOW, work + _EVENT.removeprefix(WORK)),
        )

    def hand_over(self, uid: int, gid: int) -> None:
        """Make the folders writable for the container's user when it is not ours, whatever is made in them
        later."""
        if uid == os.geteuid():
            return
        for path in (os.path.dirname(self.workspace), self.workspace, TEMP, ACTIONS, HOME, TOOLS):
            folder = self.host(path)
            if os.stat(folder).st_uid != os.geteuid():
                continue  # The tools are shared: a container's user has them already.
            if os.geteuid() == 0 and path != TOOLS:
                os.chown(folder, uid, gid)
            os.chmod(folder, 0o777)
            with contextlib.suppress(OSError):  # A file system without such lists: new files are ours alone.
                os.setxattr(folder, "system.posix_acl_default", _ACL_EVERYONE)
        # git refuses a repository of another user unless it is told that this is meant (as GitHub's checkout
        # does).
        with open(f"{self.host(HOME)}/.gitconfig", "w", encoding="utf-8") as file:
            file.write("[safe]\n\tdirectory = *\n")

    def hand_over_tree(self, folder: str, uid: int, gid: int) -> None:
        """The same for files that were put there for the job."""
        if uid == os.geteuid():
            return
        for place, folders, names in os.walk(folder):
            for name in (".", *folders, *names):
                path = os.path.join(place, name)
                with contextlib.suppress(OSError):
                    if os.geteuid() == 0:
                        os.lchown(path, uid, gid)
                    elif not os.path.islink(path):
                        os.chmod(path, os.stat(path).st_mode | 0o666 | (0o111 if os.path.isdir(path) else 0))
