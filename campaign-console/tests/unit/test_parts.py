"""The small parts that need nothing else."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from campaign_console import cli, logs, media, migrations, passwords, resources
from campaign_console.metrics import Metrics
from campaign_console.ports.http import ProviderError, post
from campaign_console.ports.mail import ConsoleMail, SmtpMail, open_mail
from campaign_console.ports.storage import BucketStorage, FolderStorage, StorageError, open_storage
from campaign_console.ports.suggestions import NoSuggestions, open_suggestions
from campaign_console.web.rendering import ago, money, size


def test_a_password_is_verified_and_its_hash_is_salted() -> None:
    one, two = passwords.hash_password("correct horse"), passwords.hash_password("correct horse")
    assert one != two and "correct" not in one
    assert passwords.verify_password("correct horse", one)
    assert not passwords.verify_password("wrong horse", one)


@pytest.mark.parametrize(
    "stored", ["", "scrypt", "plain$1$1$1$aa$bb", "scrypt$x$8$5$YQ==$YQ==", "scrypt$3$8$5$YQ==$YQ=="]
)
def test_a_malformed_hash_fits_no_password(stored: str) -> None:
    assert passwords.verify_password("anything", stored) is False


def test_short_and_endless_passwords_are_refused() -> None:
    assert passwords.problem_with("x" * 11) and passwords.problem_with("x" * 201)
    assert passwords.problem_with("x" * 12) is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7", "application/pdf"),
        (b"<svg onload=alert(1)>", None),
        (b"<!doctype html>", None),
        (b"", None),
    ],
)
def test_the_type_of_a_file_is_found_in_its_bytes(data: bytes, kind: str | None) -> None:
    found = media.media_type(data)
    assert (found[0] if found else None) == kind


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("poster.png", "poster.png"),
        ("../../etc/passwd", "passwd.png"),
        ("..\\..\\boot.ini", "boot.png"),
        ('a"b<script>.svg', "a-b-script.png"),
        ("\r\nSet-Cookie: x", "Set-Cookie- x.png"),
        ("", "asset.png"),
        ("...", "asset.png"),
    ],
)
def test_names_of_files_lose_what_could_do_harm(name: str, safe: str) -> None:
    assert media.safe_name(name, ".png") == safe


def test_metrics_are_valid_prometheus_text() -> None:
    metrics = Metrics(version='1"\n', commit="c")
    metrics.observe("GET", "/a", 200, 0.004)
    metrics.observe("GET", "/a", 200, 99)
    metrics.count("sign_in")
    text = metrics.render(dependencies_up={"cache": True})
    assert 'version="1\\"\\n"' in text
    assert 'http_requests_total{method="GET",route="/a",status="200"} 2' in text
    assert 'http_request_duration_seconds_bucket{route="/a",le="0.005"} 1' in text
    assert 'http_request_duration_seconds_bucket{route="/a",le="+Inf"} 2' in text
    assert 'campaign_console_dependency_up{name="cache"} 1' in text
    for line in text.splitlines():
        assert line.startswith("#") or float(line.rsplit(" ", 1)[1]) >= 0


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord("n", logging.INFO, "p", 1, "two\nlines", None, None)
    record.fields = {"status": 200}
    token = logs.request_id.set("r1")
    try:
        line = logs.JsonFormatter().format(record)
    finally:
        logs.request_id.reset(token)
    assert "\n" not in line
    assert json.loads(line) | {"time": ""} == {
        "time": "", "level": "info", "logger": "n", "message": "two\nlines", "request_id": "r1", "status": 200
    }  # fmt: skip


@pytest.mark.anyio
async def test_a_folder_keeps_gives_and_forgets(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    await storage.put("campaigns/1/ab.png", b"bytes", "image/png")
    assert await storage.get("campaigns/1/ab.png") == b"bytes"
    await storage.delete("campaigns/1/ab.png")
    await storage.delete("campaigns/1/ab.png")
    with pytest.raises(StorageError):
        await storage.get("campaigns/1/ab.png")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a//b", "a/../b", "A", "a\0b", "", "a/."])
async def test_a_key_never_leaves_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(StorageError):
        await FolderStorage(tmp_path).put(key, b"x", "image/png")


def test_ports_follow_their_addresses() -> None:
    assert isinstance(open_storage("file:///tmp/x"), FolderStorage)
    assert isinstance(
        open_storage("s3://bucket?region=eu-north-1&endpoint=http://localhost:1"), BucketStorage
    )
    with pytest.raises(StorageError, match="color"):
        open_storage("s3://bucket?color=red")
    assert isinstance(open_mail("console://", sender="a@b"), ConsoleMail)
    assert isinstance(open_mail("ses://u:p@eu-north-1", sender="a@b"), SmtpMail)
    assert isinstance(open_suggestions(None, model="m"), NoSuggestions)


@pytest.mark.anyio
async def test_a_provider_is_only_spoken_to_over_https() -> None:
    with pytest.raises(ProviderError) as caught:
        await post("http://provider.invalid/", token="hunter2", body=b"", content_type="application/json")
    assert "hunter2" not in str(caught.value)


def test_migrations_are_numbered_without_gaps(tmp_path: Path) -> None:
    assert [m.number for m in migrations.read(resources.folder("migrations"))] == [1, 2, 3]
    (tmp_path / "0001_a.sql").write_text("")
    (tmp_path / "0003_b.sql").write_text("")
    with pytest.raises(migrations.MigrationError, match="0002"):
        migrations.read(tmp_path)
    (tmp_path / "0003_b.sql").rename(tmp_path / "second.sql")
    with pytest.raises(migrations.MigrationError, match=r"second\.sql"):
        migrations.read(tmp_path)


def test_words_for_people() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    assert ago(now - timedelta(seconds=3), now) == "just now"
    assert ago(now - timedelta(minutes=1), now) == "1 minute ago"
    assert ago(now - timedelta(hours=5), now) == "5 hours ago"
    assert ago(now - timedelta(days=40), now) == "22 Sep 2026"
    assert (money(125_000), money(125_050)) == ("1,250", "1,250.50")
    assert (size(640), size(12_300), size(3_400_000)) == ("640 B", "12 kB", "3.4 MB")


def test_wrong_settings_end_with_one_line_and_code_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "SESSION_SECRET"):
        monkeypatch.delenv(name, raising=False)
    for command in ("serve", "migrate", "seed"):
        assert cli.main([command]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_production_takes_no_known_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1:1/x")
    monkeypatch.setenv("APP_ENVIRONMENT", "production")
    monkeypatch.delenv("SEED_PASSWORD", raising=False)
    assert cli.main(["seed"]) == 2
    assert "SEED_PASSWORD" in capsys.readouterr().err


def test_a_dead_database_is_one_line_and_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x")
    assert cli.main(["migrate"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "hunter2" not in error
