"""The files that act reads without being told to: `.secrets`, `.vars` and `.input` of the folder it runs in.

Source: the defaults of act's flags (`--secret-file .secrets`, `--var-file .vars`, `--input-file .input`,
`--env-file .env`). We read the first three, which nothing else writes, and say so. Not `.env`: it is the
application's as a rule, GitHub gives it to nobody, and what stands in it would be in every step, unmasked.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

FILES = {"secret_file": ".secrets", "var_file": ".vars", "input_file": ".input"}
ENV_FILE = ".env"


def with_act_files(args: argparse.Namespace, cwd: Path, say: Callable[[str], None]) -> None:
    """Put the files that lie in `cwd` where no other was named. A link is not followed: it may lead out of
    a repository that somebody else wrote."""
    read = []
    for option, name in FILES.items():
        file = cwd / name
        if getattr(args, option, name) is None and file.is_file() and not file.is_symlink():
            setattr(args, option, name)
            read.append(name)
    if read:
        say(f"note: also read: {', '.join(read)}")
    if getattr(args, "env_file", ENV_FILE) is None and (cwd / ENV_FILE).is_file():
        say(f"note: {ENV_FILE} is not given to the steps; --env-file {ENV_FILE} does")
