"""Secrets that local environments need and nobody has set."""

from __future__ import annotations

from pathlib import Path

from akashic.app.local_secrets import LocalSecrets, referenced
from akashic.delivery.config import LocalTarget
from akashic.delivery.config_file import parse_config
from akashic.testing.clock import ManualClock

CONFIG = parse_config(
    """
environments:
  staging:
    target:
      env: {KEY: "${secrets.SESSION}", TWICE: "${secrets.SESSION}", PLAIN: "$${secrets.NOT}"}
      services: {postgres: {image: 'postgres:16', env: {POSTGRES_PASSWORD: "${secrets.DB}"}}}
  nothing: {target: {type: memory}}
"""
)


def local(folder: Path) -> LocalSecrets:
    return LocalSecrets(folder, clock=ManualClock())


def test_the_names_that_a_target_asks_for_are_found_once_each() -> None:
    target = CONFIG.environments["staging"].target
    assert isinstance(target, LocalTarget)
    assert referenced(target) == ["SESSION", "DB"]


def test_what_is_missing_is_made_up_once_and_kept(tmp_path: Path) -> None:
    assert local(tmp_path).complete("staging", CONFIG, {}) == ["SESSION", "DB"]
    made = local(tmp_path).of("staging")
    assert sorted(made) == ["DB", "SESSION"]
    assert len(made["SESSION"]) >= 32
    assert made["SESSION"] != made["DB"]
    assert local(tmp_path).complete("staging", CONFIG, {}) == []
    assert local(tmp_path).of("staging") == made


def test_what_is_known_wins_and_follows_its_changes(tmp_path: Path) -> None:
    secrets = local(tmp_path)
    assert secrets.complete("staging", CONFIG, {"DB": "real", "OTHER": "never asked for"}) == ["SESSION"]
    assert secrets.of("staging")["DB"] == "real"
    assert "OTHER" not in secrets.of("staging")
    secrets.complete("staging", CONFIG, {"DB": "rotated"})
    assert local(tmp_path).of("staging")["DB"] == "rotated"


def test_an_environment_is_one_however_its_name_is_written(tmp_path: Path) -> None:
    secrets = local(tmp_path)
    assert secrets.complete("STAGING", CONFIG, {}) == ["SESSION", "DB"]
    assert sorted(secrets.of("staging")) == ["DB", "SESSION"]
    assert secrets.of("Staging") == secrets.of("staging")


def test_environments_that_need_none_make_no_file(tmp_path: Path) -> None:
    secrets = local(tmp_path)
    assert secrets.complete("nothing", CONFIG, {}) == []
    assert secrets.complete("unheard-of", CONFIG, {}) == []
    assert secrets.of("nothing") == {}
    assert list(tmp_path.iterdir()) == []


def test_values_are_encrypted_and_only_their_owner_reads_the_key(tmp_path: Path) -> None:
    secrets = local(tmp_path)
    secrets.complete("staging", CONFIG, {"DB": "canary-in-the-clear"})
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"canary-in-the-clear" not in stored
    assert (tmp_path / "secrets" / "key.txt").stat().st_mode & 0o077 == 0
