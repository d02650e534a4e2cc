"""What an `.actrc` that came with a repository may not say: a clone's file must not hand out what is the
user's, nor open this machine, only because somebody typed `akashic run` in it.

In the user's own files, and typed, all of it is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_OPENS = frozenset(
    ("--container-cap-add", "--container-daemon-socket", "--container-options", "--privileged", "--sandbox",
     "--userns")
)  # fmt: skip
_FILES = frozenset(
    ("--env-file", "--eventpath", "-e", "--input-file", "--secret-file", "--var-file", "--local-repository",
     "--artifact-server-path")
)  # fmt: skip
_FROM_ENVIRONMENT = frozenset(("--env", "--secret", "-s"))
_HARMLESS = frozenset(("HOME", "LOGNAME", "PWD", "TMPDIR", "USER"))
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_SELF_HOSTED = "-self-hosted"


def objection(line: str, expanded: Sequence[str], file: Path, environ: Mapping[str, str]) -> str:
    """Why a line is left out; empty when it is not. `expanded` are its words with variables replaced."""
    name, value = _option(expanded)
    for found in _VARIABLE.finditer(line):
        variable = found[1] or found[2]
        if variable not in _HARMLESS and variable in environ:
            return f"it would give away ${variable}"
    if not name:
        return "it is not clear which option that is: write one option a line, with its value after a space"
    if name in _OPENS:
        return "it opens this machine to jobs"
    if name in ("-P", "--platform") and value.partition("=")[2].strip() == _SELF_HOSTED:
        return "it takes jobs out of their containers"
    if name in _FROM_ENVIRONMENT and "=" not in value:
        return f"it would give away ${value}"
    if name in _FILES and not _inside(value.rpartition("=")[2], file.parent, environ):
        return "it names a place outside of the repository"
    return ""


def _option(words: Sequence[str]) -> tuple[str, str]:
    """The option's name and its value; no name where several switches stand in one word."""
    first, rest = words[0], " ".join(words[1:])
    if first.startswith("--"):
        name, equals, value = first.partition("=")
        return name, f"{value} {rest}".strip() if equals else rest
    if len(first) == 2:
        return first, rest
    if first[:2] in ("-P", "-e", "-s", "-W", "-j", "-a"):
        return first[:2], f"{first[2:].removeprefix('=')} {rest}".strip()
    return "", ""


def _inside(path: str, folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether a path lies in the repository around `folder`, below its top and not among git's own files."""
    home = environ.get("HOME", "")
    tops = [one for one in (folder, *folder.parents) if (one / ".git").exists() and str(one) != home]
    top = (tops[0] if tops else folder).resolve()
    found = (folder / path).resolve()
    return top in found.parents and ".git" not in found.relative_to(top).parts
