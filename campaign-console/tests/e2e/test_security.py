"""Is the deployment as closed as the code is? Headers, cookies, forged requests, limits."""

from __future__ import annotations

import secrets

import pytest

from conftest import Client

pytestmark = pytest.mark.e2e


def test_every_answer_carries_the_security_headers(stranger: Client) -> None:
    for path in ("/sign-in", "/api/health", "/api/auth/session", "/nothing-here"):
        headers = stranger.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        if stranger.base_url.startswith("https://"):
            assert "max-age" in headers["strict-transport-security"]


def test_cookies_cannot_be_read_or_sent_by_other_sites(base_url: str, credentials: tuple[str, str]) -> None:
    cookies = Client(base_url).sign_in(*credentials).cookies
    assert cookies
    for cookie in cookies:
        assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
        assert not base_url.startswith("https://") or ("Secure" in cookie and cookie.startswith("__Host-"))


def test_a_forged_change_is_refused(member: Client) -> None:
    body = {"name": "forged", "channel": "email"}
    assert member.send("POST", "/api/campaigns", body, {"X-CSRF-Token": "0" * 64}).status == 403
    assert member.send("POST", "/api/campaigns", body, {"Origin": "https://evil.example"}).status == 403
    assert member.form("/campaigns", body).status == 403


def test_a_stranger_changes_and_reads_nothing(stranger: Client) -> None:
    assert stranger.get("/api/campaigns").status == 401
    assert stranger.send("POST", "/api/campaigns", {"name": "x", "channel": "email"}).status == 401


def test_guessing_passwords_is_stopped(stranger: Client) -> None:
    email = f"nobody-{secrets.token_hex(6)}@example.com"
    statuses = [stranger.sign_in(email, "guess").status for _ in range(6)]
    assert statuses[-1] == 429


def test_errors_show_nothing_of_the_inside(stranger: Client) -> None:
    for path in ("/nothing", "/campaigns/%00", "/static/%2e%2e%2fapp.py", "/api/campaigns/x"):
        answer = stranger.get(path)
        assert answer.status in (303, 401, 404)
        assert "Traceback" not in answer.text and "campaign_console" not in answer.text
