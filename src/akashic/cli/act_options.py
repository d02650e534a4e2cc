"""Options of act that `akashic run` does without: taken where they ask for what is always so, else answered
with what to do instead. None of them is passed over in silence. Source: `act --help`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from akashic.errors import UsageError

_ALWAYS = (
    "--no-skip-checkout",  # actions/checkout does its work
    "--use-new-action-cache",  # actions are fetched once and kept as commits
    "--strict",  # workflows are checked as GitHub checks them
    "--log-prefix-job-id",  # lines begin with the job's id
    "--use-gitignore",  # ignored files are not in the workspace
    "--use-gitignore=true",
    "--insecure-secrets=false",
    "--reuse=false",
    "--bind=false",
)
_VIEW = (
    "a job works on a view of the tree and never changes your files: take results out with upload-artifact "
    "and `akashic artifact get`, or --artifact-server-path"
)
_CLEAN = "every job begins in a clean place; `akashic resume` goes on in a failed one's"
_SWITCHES = {
    ("-b", "--bind"): _VIEW,
    ("--insecure-secrets",): "secrets are always masked; look at them in the shell that --break opens",
    ("--man-page",): "akashic run --help, and docs/reference/cli.md",
    ("--no-cache-server",): "remove what is cached instead: akashic cache rm",
    ("-r", "--reuse"): _CLEAN,
    ("--use-gitignore=false",): "track the file, or make it in a step: ignored files are never copied",
}
_GITHUB = (
    "actions are fetched from github.com; take others from a folder: --local-repository OWNER/REPO@REF=DIR"
)
_WITH_VALUE = {
    "--action-cache-path": "set XDG_CACHE_HOME: fetched actions are kept in its akashic/actions",
    "--artifact-server-addr": "artifacts need no server; leave it out",
    "--artifact-server-port": "artifacts need no server; leave it out",
    "--cache-server-addr": "caches need no server; leave it out",
    "--cache-server-external-url": "caches need no server; leave it out",
    "--cache-server-path": "caches are kept with the state; AKASHIC_STATE names another folder for both",
    "--cache-server-port": "caches need no server; leave it out",
    "--github-instance": _GITHUB,
    "--remote-name": "the remote `origin` is read: git remote rename NAME origin",
    "--replace-ghe-action-token-with-github-com": _GITHUB,
    "--replace-ghe-action-with-github-com": _GITHUB,
}
_REFUSED = frozenset(_WITH_VALUE) | {name for names in _SWITCHES for name in names}


class _Refuse(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        raise UsageError(f"{option_string}: akashic does without this option of act", hint=str(self.const))


class _Take(argparse.Action):
    def __call__(self, *_: object) -> None:
        return


def is_refused(option: str) -> bool:
    """Whether an option of act is answered with what to do instead."""
    return option in _REFUSED


def configure_act(parser: argparse.ArgumentParser) -> None:
    """Add them; they are in no help text."""
    hidden: dict[str, Any] = {"help": argparse.SUPPRESS, "dest": argparse.SUPPRESS}
    for option in _ALWAYS:
        parser.add_argument(option, action=_Take, nargs=0, **hidden)
    for names, hint in _SWITCHES.items():
        parser.add_argument(*names, action=_Refuse, nargs=0, const=hint, **hidden)
    for option, hint in _WITH_VALUE.items():
        parser.add_argument(option, action=_Refuse, nargs="?", const=hint, **hidden)
