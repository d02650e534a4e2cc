from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akashic.errors import UsageError
from akashic.secrets import FILE_NAME
from akashic.secrets.document import VALUE_BYTES_MAX, Recipient
from akashic.secrets.dotenv import parse_dotenv
from akashic.secrets.file import SecretsFile
from akashic.secrets.keys import SecretsError, create_identity, find_identities, key_path
from akashic.secrets.secret import Secret

Person = Callable[[str], tuple[dict[str, str], str]]


def test_what_is_set_is_resolved_and_the_environments_value_wins(secrets_file: SecretsFile) -> None:
    assert secrets_file.set("token", Secret("repository's"))
    secrets_file.set("TOKEN", Secret("production's"), scope="production")
    secrets_file.set("OTHER", Secret("o"), scope="staging")

    assert secrets_file.resolve() == {"TOKEN": "repository's"}
    assert secrets_file.resolve("production") == {"TOKEN": "production's"}
    assert secrets_file.resolve("staging") == {"TOKEN": "repository's", "OTHER": "o"}
    assert not secrets_file.set("TOKEN", Secret("changed"))
    assert secrets_file.get("token", "staging") == Secret("changed")
    assert secrets_file.get("ABSENT") is None


def test_the_list_has_names_scopes_and_times_only(secrets_file: SecretsFile) -> None:
    secrets_file.set("B", Secret("1"), scope="staging")
    secrets_file.set("A", Secret("2"))
    assert [(i.name, i.scope, i.set_at) for i in secrets_file.list()] == [
        ("A", "repository", 1_700_000_000),
        ("B", "staging", 1_700_000_000),
    ]


def test_setting_one_secret_changes_only_its_own_lines(secrets_file: SecretsFile) -> None:
    secrets_file.set("A", Secret("1"))
    secrets_file.set("B", Secret("2"))
    before = json.loads(secrets_file.path.read_text())["secrets"]
    secrets_file.set("B", Secret("3"))
    after = json.loads(secrets_file.path.read_text())["secrets"]
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_rotation_needs_an_existing_secret_and_another_value(secrets_file: SecretsFile) -> None:
    with pytest.raises(UsageError, match="there is no secret A"):
        secrets_file.rotate("A", Secret("x"))
    secrets_file.set("A", Secret("x"))
    with pytest.raises(UsageError, match="is the old one"):
        secrets_file.rotate("A", Secret("x"))
    secrets_file.rotate("A", Secret("y"))
    assert secrets_file.resolve() == {"A": "y"}


def test_a_team_member_reads_after_being_added_and_not_after_being_removed(
    secrets_file: SecretsFile, person: Person
) -> None:
    secrets_file.set("A", Secret("x"))
    environ, recipient = person("maria")
    theirs = SecretsFile(secrets_file.path, environ=environ, now=lambda: 0.0)

    with pytest.raises(SecretsError, match="cannot be opened with the key"):
        theirs.resolve()
    assert secrets_file.add_recipient(Recipient(key=recipient, name="maria")) == 1
    assert theirs.resolve() == {"A": "x"}
    assert secrets_file.remove_recipient("maria") == 1
    with pytest.raises(SecretsError):
        theirs.resolve()
    assert secrets_file.resolve() == {"A": "x"}


def test_nobody_locks_themselves_out(secrets_file: SecretsFile) -> None:
    before = secrets_file.path.read_bytes()
    with pytest.raises(UsageError, match="without access"):
        secrets_file.remove_recipient("me")
    assert secrets_file.path.read_bytes() == before


def test_a_broken_file_is_reported_and_never_overwritten(secrets_file: SecretsFile) -> None:
    for broken in (b"", b"{", b"<<<<<<< HEAD\n", b'{"akashic_secrets": 9}', b'{"unknown": 1}'):
        secrets_file.path.write_bytes(broken)
        for action in (
            lambda: secrets_file.set("A", Secret("x")),
            lambda: secrets_file.remove("A"),
            lambda: secrets_file.re_encrypt(),
            lambda: secrets_file.resolve(),
            lambda: secrets_file.list(),
        ):
            with pytest.raises(SecretsError):
                action()
        assert secrets_file.path.read_bytes() == broken


def test_a_value_that_was_moved_to_another_name_or_scope_by_hand_is_refused(
    secrets_file: SecretsFile,
) -> None:
    secrets_file.set("A", Secret("x"), scope="production")
    text = secrets_file.path.read_text()
    for old, new in (('"A"', '"B"'), ('"production"', '"staging"'), ("1700000000", "1700000001")):
        secrets_file.path.write_text(text.replace(old, new))
        with pytest.raises(SecretsError, match="edited by hand"):
            secrets_file.resolve("staging" if new == '"staging"' else "production")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    secrets_file: SecretsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = secrets_file.path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SecretsError, match="No space left on device"):
        secrets_file.set("A", Secret("x"))
    assert secrets_file.path.read_bytes() == before
    assert list(secrets_file.path.parent.iterdir()) == [secrets_file.path]


def test_writers_at_the_same_time_lose_nothing(secrets_file: SecretsFile) -> None:
    workers = [
        threading.Thread(target=lambda n=n: secrets_file.set(f"S{n}", Secret(str(n)))) for n in range(12)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert secrets_file.resolve() == {f"S{n}": str(n) for n in range(12)}


def test_a_missing_key_and_a_key_that_others_can_read_say_what_to_do(
    secrets_file: SecretsFile, tmp_path: Path
) -> None:
    secrets_file.set("A", Secret("x"))
    lost = SecretsFile(secrets_file.path, environ={"HOME": str(tmp_path / "nobody")}, now=lambda: 0.0)
    with pytest.raises(SecretsError, match="does not exist") as caught:
        lost.resolve()
    assert "AKASHIC_KEY" in caught.value.hint

    open_key = tmp_path / "open.txt"
    create_identity(open_key)
    open_key.chmod(0o644)
    with pytest.raises(SecretsError, match="other users may open"):
        find_identities({"AKASHIC_KEY_FILE": str(open_key)})
    with pytest.raises(SecretsError, match="no age secret key"):
        find_identities({"AKASHIC_KEY": "hello"})


def test_no_key_is_needed_where_there_are_no_secrets(tmp_path: Path) -> None:
    file = SecretsFile(tmp_path / FILE_NAME, environ={"HOME": str(tmp_path)}, now=lambda: 0.0)
    assert file.resolve("production") == {}
    assert file.list() == []


def test_the_key_file_is_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    path = key_path({"XDG_CONFIG_HOME": str(tmp_path)})
    create_identity(path)
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UsageError):
        create_identity(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["", "1A", "A-B", "GITHUB_TOKEN", "github_x", "A B", "Ä", "A" * 300])
def test_names_that_github_does_not_allow_are_refused(secrets_file: SecretsFile, name: str) -> None:
    with pytest.raises(UsageError):
        secrets_file.set(name, Secret("x"))


def test_empty_and_giant_values_are_refused(secrets_file: SecretsFile) -> None:
    for value in ("", "x" * (VALUE_BYTES_MAX + 1)):
        with pytest.raises(UsageError):
            secrets_file.set("A", Secret(value))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(codec="utf-8"), min_size=1, max_size=300))
def test_every_text_comes_back_as_it_was(secrets_file: SecretsFile, value: str) -> None:
    secrets_file.set("A", Secret(value))
    assert secrets_file.resolve() == {"A": value}


def test_several_are_kept_in_one_write_or_not_at_all(secrets_file: SecretsFile) -> None:
    with pytest.raises(UsageError):
        secrets_file.set_many({"GOOD": Secret("x"), "not good": Secret("y")})
    assert secrets_file.list() == []
    assert secrets_file.set_many({"A": Secret("1"), "B": Secret("2")}, scope="staging") == 2
    assert secrets_file.resolve("staging") == {"A": "1", "B": "2"}


def test_dotenv_files_are_read_as_a_shell_would_without_expanding() -> None:
    text = """# comment
A=1
export B = "two \\"words\\"\\n$HOME"
C='$HOME `x`'
D=a b # comment
E="first
second"
F=
"""
    found = {name: value.reveal() for name, value in parse_dotenv(text, ".env").items()}
    assert found == {
        "A": "1",
        "B": 'two "words"\n$HOME',
        "C": "$HOME `x`",
        "D": "a b",
        "E": "first\nsecond",
        "F": "",
    }
    for bad in ("A 1", 'A="open'):
        with pytest.raises(UsageError, match=r"\.env:1"):
            parse_dotenv(bad, ".env")


def test_the_case_of_an_environments_name_does_not_matter(secrets_file: SecretsFile) -> None:
    secrets_file.set("token", Secret("one"), scope="Production")
    assert secrets_file.resolve("production") == secrets_file.resolve("PRODUCTION") == {"TOKEN": "one"}
    assert not secrets_file.set("TOKEN", Secret("two"), scope="production")
    assert [info.scope for info in secrets_file.list("PRODUCTION")] == ["production"]
    found = secrets_file.get("token", "Production")
    assert found is not None and found.reveal() == "two"
    secrets_file.remove("token", scope="PRODUCTION")
    assert secrets_file.resolve("production") == {}


def test_other_scopes_come_before_the_environments_own(secrets_file: SecretsFile) -> None:
    for scope, value in (("repository", "r"), ("shared", "s"), ("production", "p")):
        secrets_file.set("A", Secret(value), scope=scope)
    secrets_file.set("B", Secret("s"), scope="Shared")
    assert secrets_file.resolve("production", also=("shared",)) == {"A": "p", "B": "s"}
    assert secrets_file.resolve("staging", also=("shared",)) == {"A": "s", "B": "s"}
