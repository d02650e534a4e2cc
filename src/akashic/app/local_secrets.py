"""Secrets that local environments need and nobody has set: made on this machine, kept encrypted.

A fresh clone has no key to the repository's secrets file, and a local environment needs no real secret: a
random session key serves it. What the secrets file holds always wins; of that, what a local target names is
kept here too, under a key of this machine, because a step that deploys cannot reach the user's key.
"""

from __future__ import annotations

import re
import secrets as random_secrets
from collections.abc import Mapping
from pathlib import Path

from akashic.delivery.config import Config, DockerTarget, LocalTarget
from akashic.driver.ports import Clock
from akashic.secrets.document import Recipient
from akashic.secrets.file import SecretsFile
from akashic.secrets.keys import create_identity, find_identities, recipients_of
from akashic.secrets.secret import Secret

FILE_NAME, KEY_NAME = "secrets.json", "key.txt"
SECRET_BYTES = 32
_REFERENCE = re.compile(r"(?<!\$)\$\{secrets\.([A-Za-z_][A-Za-z0-9_]*)\}")


class LocalSecrets:
    """Generated secrets of one state folder, by environment."""

    def __init__(self, state_dir: Path, *, clock: Clock) -> None:
        folder = state_dir / "secrets"
        self._key = folder / KEY_NAME
        # A key of its own, found here and nowhere else: the user's key must not be asked for.
        environ: Mapping[str, str] = {"AKASHIC_KEY_FILE": str(self._key), "HOME": str(folder)}
        self._environ = environ
        self._file = SecretsFile(folder / FILE_NAME, environ=environ, now=clock.now)

    def of(self, environment: str) -> dict[str, str]:
        """Names and values for an environment, however its name is written."""
        if not self._file.exists():
            return {}
        folded = environment.casefold()
        as_written = self._file.resolve(environment) if folded != environment else {}
        return as_written | self._file.resolve(folded)

    def complete(self, environment: str, config: Config, known: Mapping[str, str]) -> list[str]:
        """Have here all secrets that the environment's local target names: those in `known` as they are now,
        the others made up. Returns the names of those that were made up."""
        found = config.environment(environment)
        if found is None or not isinstance(found.target, LocalTarget | DockerTarget):
            return []
        here = self.of(environment)
        wanted = referenced(found.target)
        missing = [name for name in wanted if name not in known and name not in here]
        values = {name: known[name] for name in wanted if name in known and here.get(name) != known[name]}
        values |= {name: random_secrets.token_urlsafe(SECRET_BYTES) for name in missing}
        if values:
            self._prepare()
            self._file.set_many({name: Secret(values[name]) for name in values}, scope=environment.casefold())
        return missing

    def _prepare(self) -> None:
        if self._file.exists():
            return
        if not self._key.exists():
            create_identity(self._key)
        keys = recipients_of(find_identities(self._environ))
        self._file.init([Recipient(key=key, name="this machine") for key in keys])


def referenced(target: LocalTarget | DockerTarget) -> list[str]:
    """The names of secrets that a local target's values ask for."""
    services = target.services if isinstance(target, LocalTarget) else {}
    texts = [*target.env.values(), *(value for one in services.values() for value in one.env.values())]
    return list(dict.fromkeys(name for text in texts for name in _REFERENCE.findall(text)))
