from __future__ import annotations

import pytest

from campaign_console import settings

GOOD = {
    "DATABASE_URL": "postgresql://u:hunter2@db:5432/console",
    "REDIS_URL": "redis://cache:6379/0",
    "SESSION_SECRET": "x" * 32,
}


def test_three_settings_are_enough() -> None:
    loaded = settings.load(GOOD)
    assert (loaded.port, loaded.environment, loaded.mail_url) == (3000, "development", "console://")
    assert loaded.openai_api_key is None and loaded.stripe_secret_key is None


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.load({"SESSION_SECRET": "short", "PORT": "0", "LOG_LEVEL": "loud", "STORAGE_URL": "s3:///x"})
    named = " ".join(caught.value.problems)
    for name in ("DATABASE_URL", "REDIS_URL", "SESSION_SECRET", "PORT", "LOG_LEVEL", "STORAGE_URL"):
        assert name in named
    assert len(caught.value.problems) == 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://u:hunter2@db/console"),
        ("DATABASE_URL", "postgresql://u:hunter2@db"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://:hunter2@cache:notaport"),
        ("MAIL_URL", "smtp://"),
        ("STORAGE_URL", "file://relative"),
        ("PUBLIC_URL", "console.example.com"),
        ("PORT", "65536"),
        ("PORT", "٣"),
        ("DATABASE_POOL_MAX", "-1"),
        ("APP_ENVIRONMENT", "moon"),
    ],
)
def test_a_malformed_setting_is_refused_without_repeating_a_password(name: str, value: str) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.load(GOOD | {name: value})
    assert name in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_hide_themselves() -> None:
    shown = repr(settings.load(GOOD | {"OPENAI_API_KEY": "hunter3", "MAIL_URL": "smtp://u:hunter4@mail"}))
    assert "hunter" not in shown and "x" * 32 not in shown


@pytest.mark.parametrize(
    ("url", "secure"), [("https://c.example.com/", True), ("http://localhost:3000", False)]
)
def test_cookies_are_secure_where_the_public_address_is(url: str, secure: bool) -> None:
    assert settings.load(GOOD | {"PUBLIC_URL": url}).cookie_secure is secure
