"""Environment files: what a step writes to GITHUB_ENV, GITHUB_OUTPUT, GITHUB_STATE, GITHUB_PATH and
GITHUB_STEP_SUMMARY.

Behaviour: GitHub's "Workflow commands for GitHub Actions" (environment files) and the runner: `name=value` or
`name<<DELIMITER` … `DELIMITER`; a malformed file fails the step and, unlike on GitHub, sets nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from akashic.runner.commands import BLOCKED_VARIABLES, Effects

SUMMARY_BYTES_MAX = 1024 * 1024
FILE_BYTES_MAX = 16 * 1024 * 1024
"""A file of variables or outputs beyond this fails the step; GitHub's limit for all outputs of a job is 1
MiB."""

KINDS = ("env", "output", "state", "path", "step_summary")
_PREFIXES = {
    "env": "set_env_",
    "output": "set_output_",
    "state": "save_state_",
    "path": "add_path_",
    "step_summary": "step_summary_",
}


class FileCommandError(Exception):
    """An environment file is malformed; the message quotes GitHub's runner."""


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """The (name, value) pairs of a file, in order. Raises FileCommandError."""
    pairs: list[tuple[str, str]] = []
    lines = text.removeprefix("\ufeff").split("\n")
    if lines[-1] == "":
        lines.pop()
    at = 0
    while at < len(lines):
        # As the runner on Linux and macOS, a carriage return belongs to the value.
        line = lines[at]
        at += 1
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, value = line[:equals], line[equals + 1 :]
            if not name:
                raise FileCommandError(f"Invalid format '{line}'. Name must not be empty")
        elif heredoc >= 0:
            name, delimiter = line[:heredoc], line[heredoc + 2 :]
            if not name or not delimiter:
                raise FileCommandError(
                    f"Invalid format '{line}'. Name must not be empty and delimiter must not be empty"
                )
            try:
                end = lines.index(delimiter, at)
            except ValueError:
                raise FileCommandError(f"Invalid value. Matching delimiter not found '{delimiter}'") from None
            value = "\n".join(lines[at:end])
            at = end + 1
        else:
            raise FileCommandError(f"Invalid format '{line}'")
        pairs.append((name, value))
    return pairs


def parse_paths(text: str) -> list[str]:
    """The folders of a GITHUB_PATH file, in order."""
    return [line for line in text.removeprefix("\ufeff").splitlines() if line]


class CommandFiles(msgspec.Struct, frozen=True):
    """The five files of one step slot: their paths as the job sees them."""

    paths: dict[str, str]

    @classmethod
    def in_folder(cls, folder: str, suffix: str) -> CommandFiles:
        """Name the files of a slot; nothing is created."""
        return cls({kind: f"{folder}/{_PREFIXES[kind]}{suffix}" for kind in KINDS})

    def environment(self) -> dict[str, str]:
        """GITHUB_ENV and its siblings."""
        return {f"GITHUB_{kind.upper()}": path for kind, path in self.paths.items()}


def apply_file(
    kind: str, content: bytes, effects: Effects, *, error: Callable[[str], None], mask: Callable[[str], str]
) -> None:
    """Take over what a step wrote to its file of this kind. Errors go to `error` and fail the step."""
    if kind == "step_summary":
        _apply_summary(content, effects, error=error, mask=mask)
        return
    try:
        if len(content) > FILE_BYTES_MAX:
            raise FileCommandError(f"The file is larger than {FILE_BYTES_MAX // 1024} KiB")
        text = content.decode("utf-8", "replace")
        if kind == "path":
            effects.path.extend(parse_paths(text))
            return
        pairs = parse_pairs(text)
        for name, value in pairs:
            if "\0" in name or "\0" in value:
                raise FileCommandError(f"Invalid value of '{name}'. It must not contain a NUL character")
    except FileCommandError as problem:
        error(f"Unable to process file command '{kind}' successfully.")
        error(str(problem))
        effects.failed = True
        return
    target = {"env": effects.env, "output": effects.outputs, "state": effects.state}[kind]
    for name, value in pairs:
        if kind == "env" and name.upper() in BLOCKED_VARIABLES:
            # GitHub: such a variable would change every Node.js action that follows.
            error(f"Can't store {name} output parameter using '$GITHUB_ENV' command.")
            continue
        target[name] = value


def _apply_summary(
    content: bytes, effects: Effects, *, error: Callable[[str], None], mask: Callable[[str], str]
) -> None:
    if len(content) > SUMMARY_BYTES_MAX:
        limit = SUMMARY_BYTES_MAX // 1024
        error(
            f"$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of {limit}k, "
            f"got {len(content) // 1024}k."
        )
        return
    effects.summary = mask(content.decode("utf-8", "replace"))
