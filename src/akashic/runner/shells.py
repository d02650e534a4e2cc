"""Shells: which command runs a step's script, and what the script file holds.

Source: GitHub's "Workflow syntax", `jobs.<job_id>.steps[*].shell` (the table of built-in shells, exit
codes, and custom shells).
"""

from __future__ import annotations

import os
import shlex

import msgspec

from akashic.errors import AkashicError

_POWERSHELL_BEFORE = "$ErrorActionPreference = 'stop'\n"
_POWERSHELL_AFTER = "\nif ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) { exit $LASTEXITCODE }"


class ShellError(AkashicError):
    """`shell:` names something that cannot run a script."""


class Shell(msgspec.Struct, frozen=True):
    """How to run scripts: `template` with `{0}` for the script's path, the file's ending, and whether the
    user wrote the template. `shown` is what the log says."""

    argv: tuple[str, ...]
    suffix: str
    shown: str
    powershell: bool = False

    def command(self, script: str) -> list[str]:
        """The arguments that run the script at this path."""
        return [part.replace("{0}", script) for part in self.argv]

    def script(self, text: str) -> bytes:
        """The bytes of the script's file."""
        # A file may come from Windows; bash cannot read carriage returns.
        text = text.replace("\r\n", "\n")
        if self.powershell:
            text = f"{_POWERSHELL_BEFORE}{text}{_POWERSHELL_AFTER}"
        return (text if text.endswith("\n") else text + "\n").encode("utf-8", "replace")


DEFAULT = Shell(("bash", "-e", "{0}"), ".sh", "/usr/bin/bash -e {0}")
IN_CONTAINER = Shell(("sh", "-e", "{0}"), ".sh", "sh -e {0}")
"""GitHub's default in a job container."""
IN_IMAGE = Shell(
    ("sh", "-c", 'command -v bash >/dev/null 2>&1 && exec bash -e "$0"; exec sh -e "$0"', "{0}"),
    ".sh",
    "/usr/bin/bash -e {0}",
)
"""GitHub's default where it is not known whether there is a bash: sh when there is none."""
_BUILT_IN = {
    "bash": Shell(
        ("bash", "--noprofile", "--norc", "-eo", "pipefail", "{0}"),
        ".sh",
        "/usr/bin/bash --noprofile --norc -e -o pipefail {0}",
    ),
    "sh": Shell(("sh", "-e", "{0}"), ".sh", "/usr/bin/sh -e {0}"),
    "python": Shell(("python", "{0}"), ".py", "/usr/bin/python {0}"),
    "pwsh": Shell(
        ("pwsh", "-command", ". '{0}'"), ".ps1", "/usr/bin/pwsh -command \". '{0}'\"", powershell=True
    ),
}
_WINDOWS_ONLY = ("cmd", "powershell")


def on_path(path: str) -> Shell:
    """GitHub's default on this machine: bash, and sh where no folder of `path` has one."""
    if any(os.access(f"{folder}/bash", os.X_OK) for folder in path.split(":") if folder):
        return DEFAULT
    return _BUILT_IN["sh"]


def find_shell(name: str, *, default: Shell = DEFAULT) -> Shell:
    """The shell for the value of `shell:`; empty means `default`, which is GitHub's on Linux and macOS.
    Raises ShellError."""
    name = name.strip()
    if not name:
        return default
    known = _BUILT_IN.get(name)
    if known is not None:
        return known
    if name in _WINDOWS_ONLY:
        raise ShellError(f"shell '{name}' exists on Windows only", hint="Use bash, sh, python or pwsh.")
    if "{0}" not in name:
        raise ShellError(
            f"Invalid shell option '{name}'. Shell must be a valid built-in (bash, sh, python, pwsh) or a "
            "format string containing '{0}'"
        )
    try:
        argv = tuple(shlex.split(name))
    except ValueError as error:
        raise ShellError(f"Invalid shell option '{name}': {error}") from error
    return Shell(argv, _suffix(argv[0]), name)


def _suffix(command: str) -> str:
    program = command.rsplit("/", 1)[-1]
    if program in ("bash", "sh"):
        return ".sh"
    return {"python": ".py", "pwsh": ".ps1"}.get(program, "")
