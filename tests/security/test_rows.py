"""What has broken systems like this one, and that there is a test for each: `test_attack_NUMBER_…` or
`test_row_NUMBER_…`, wherever the part is tested. A number that has none says why."""

from __future__ import annotations

import re
from pathlib import Path

ROWS = {
    1: "stored names stay inside of the run's root",
    2: "the services for actions need that job's token and listen on no wildcard address",
    3: "output never alters environment or PATH",
    4: "a malformed environment file fails the step and sets nothing",
    5: "loader variables never reach processes that the runner owns",
    6: "the engine is asked by its API, never by a shell string",
    7: "lint finds every untrusted expression in a script",
    8: "a privileged trigger never runs a fork's code with secrets",
    9: "a fork's run has no secrets, no ID token, no cache write, and nothing of this machine",
    10: "an approval binds run, commit, workflow, artifact digest and environment",
    11: "what runs is what was approved",
    12: "a job's token opens its own run and dies with the job",
    13: "the actor is who was authenticated at the trigger",
    14: "a less trusted scope never writes what a more trusted one reads",
    15: "archives are extracted into fresh folders only",
    16: "tar entries are checked besides what the library checks",
    17: "no live credential is in any stored byte",
    18: "a lock file pins actions to commits, and a moved tag stops the run",
    19: "what is fetched is verified by its digest",
    20: "every form of a secret is masked, across chunk boundaries too",
    21: "everything that a job started is dead when it ends",
    22: "the engine's socket is in no container unless it is asked for by name",
    24: "user settings never shadow what the runner calls",
    27: "no input ends the process",
    28: "addresses are checked at the connection, and redirects are not followed",
    30: "a path that is not plain leads nowhere",
    32: "no command reads a secret back",
    34: "links are not followed out of a checkout, nor written through",
    35: "nor out of a job's folders in containers",
    36: "git hooks never run, and submodules only on request",
    37: "what strangers write is escaped where a browser shows it, and links are http",
    38: "terminal escapes of others are shown, not sent",
    39: "YAML bombs are refused before they are expanded",
    40: "expressions that grow without end are refused",
    41: "the subject of an ID token is unambiguous",
    43: "no entities and no giant reports",
}
LATER = {
    25: "webhooks are verified before anything changes: nothing receives webhooks yet",
    29: "no input is expanded into files of a server: there is no server that takes input yet",
    31: "a route without a policy fails the tests: the services for actions have one table with all routes "
    "(test_attack_2_no_request_without_a_token_is_answered); others do not exist yet",
    33: "plans are encrypted and masked: there are no infrastructure plans yet",
}  # fmt: skip
_NAMED = re.compile(r"def test_(?:attack|row)_(\d+)(?:_and_(\d+))?_")


def test_every_row_has_a_test_or_a_reason() -> None:
    named: set[int] = set()
    for file in Path(__file__).parents[1].rglob("test_*.py"):
        for found in _NAMED.finditer(file.read_text(encoding="utf-8")):
            named |= {int(number) for number in found.groups() if number}
    assert sorted(set(ROWS) - named) == [], "rows without a test"
    assert sorted(named - set(ROWS)) == [], "tests of rows that are not listed"
    assert not set(ROWS) & set(LATER)
