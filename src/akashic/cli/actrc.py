"""act's `.actrc` files: flags that stand in front of what is typed for `akashic run`.

Source: act's usage page ("Configuration file") and its reading of the files: one flag a line, variables
expanded, lines that do not begin with `-` passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

ACTRC_BYTES_MAX = 64 * 1024
FILES_MAX = 3
_SWITCHES = (
    "--action-offline-mode", "--bug-report", "--detect-event", "--dry-run", "--dryrun", "--graph", "--json",
    "--list", "--list-options", "--log-prefix-job-id", "--no-recurse", "--no-skip-checkout", "--privileged",
    "--quiet", "--rm", "--strict", "--use-new-action-cache", "--validate", "--verbose", "--watch",
)  # fmt: skip
"""Flags without a value, which act also takes as `--flag=true` and `--flag=false`."""
_CONTAINERS = ("-P", "--platform", "-p", "--pull", "--privileged", "--userns", "--network", "--rebuild")
_TRUE, _FALSE = ("1", "t", "true", "T", "TRUE", "True"), ("0", "f", "false", "F", "FALSE", "False")


def with_actrc(
    argv: Sequence[str], cwd: Path, environ: Mapping[str, str], say: Callable[[str], None]
) -> list[str]:
    """What was typed, with the flags of the files in front and switches in one spelling.

    A flag of a file that Akashic does without is left out, and `say` is told; those about containers are left
    out silently when the jobs run in none, because act writes such a file for everybody at its first start.
    So is what a file that came with the repository must not say; that is told.
    """
    found: list[str] = []
    files = actrc_files(cwd, environ)
    for file in files:
        if file.is_file():
            came_along = len(files) == FILES_MAX and file is files[-1]
            found += _of_file(file, environ, say, on_host=not _names_docker(argv), came_along=came_along)
    return found + _plain(argv)


def actrc_files(cwd: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where act looks, in its order: what comes later wins."""
    home = environ.get("HOME") or "/"
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    files = (Path(config, "act", "actrc"), Path(home, ".actrc"), cwd / ".actrc")
    return tuple(dict.fromkeys(files))


def _names_docker(argv: Sequence[str]) -> bool:
    return "--executor=docker" in argv or any(
        one == "--executor" and other == "docker" for one, other in pairwise(argv)
    )


def _of_file(
    file: Path, environ: Mapping[str, str], say: Callable[[str], None], *, on_host: bool, came_along: bool
) -> list[str]:
    # Who has no such file does not pay for it.
    from akashic.cli.act_options import is_refused
    from akashic.cli.actrc_trust import objection

    found: list[str] = []
    with file.open("rb") as stream:
        text = stream.read(ACTRC_BYTES_MAX).decode("utf-8", "replace")
    for line in text.splitlines():
        words = re.split(r"\s+", _expanded(line.strip(), environ), maxsplit=1)
        option = words[0].partition("=")[0]
        if not option.startswith("-"):
            continue
        if on_host and (option in _CONTAINERS or option.startswith(("--container-", "-P"))):
            continue
        if is_refused(option):
            say(f"{file}: {option} is left out: akashic does without this option of act")
            continue
        reason = objection(line, words, file, environ) if came_along else ""
        if reason:
            say(f"{file}: {option} is left out: {reason}; type it, or write it into ~/.actrc, if you mean it")
            continue
        found += _plain(words)
    return found


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` as Go's os.ExpandEnv replaces them; unknown names are empty."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: environ.get(found[1] or found[2], ""), text)


def _plain(argv: Sequence[str]) -> list[str]:
    """Switches as argparse knows them: there, or not there."""
    result: list[str] = []
    for word in argv:
        name, equals, value = word.partition("=")
        if equals and name in _SWITCHES and value in (*_TRUE, *_FALSE):
            if value in _TRUE:
                result.append(name)
            continue
        result.append(word)
    return result
