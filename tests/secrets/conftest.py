from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from akashic.secrets import FILE_NAME
from akashic.secrets.document import Recipient
from akashic.secrets.file import SecretsFile
from akashic.secrets.keys import create_identity


@pytest.fixture
def person(tmp_path: Path) -> Callable[[str], tuple[dict[str, str], str]]:
    """Makes somebody with a key of their own: their environment and their public key."""

    def make(name: str) -> tuple[dict[str, str], str]:
        key = tmp_path / name / "key.txt"
        return {"AKASHIC_KEY_FILE": str(key), "HOME": str(tmp_path / name)}, create_identity(key)

    return make


@pytest.fixture
def secrets_file(tmp_path: Path, person: Callable[[str], tuple[dict[str, str], str]]) -> SecretsFile:
    environ, recipient = person("me")
    (tmp_path / "repository").mkdir()
    file = SecretsFile(tmp_path / "repository" / FILE_NAME, environ=environ, now=lambda: 1_700_000_000.0)
    file.init([Recipient(key=recipient, name="me")])
    return file
