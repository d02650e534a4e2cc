"""The whole service over HTTP, against a real PostgreSQL and Redis."""

from __future__ import annotations

import re
from typing import Any

import pytest

from conftest import EDITOR, PASSWORD, Client, Service, free_port

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
CAMPAIGN = {"name": "Summer", "channel": "social", "audience": "Lakes", "message": "Hi", "budget": "12.50"}


def token_of(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]


def create(client: Client, **changes: Any) -> dict[str, Any]:
    answer = client.send("POST", "/api/campaigns", CAMPAIGN | changes)
    assert answer.status == 201, answer.text
    result: dict[str, Any] = answer.json()
    return result


def test_health_tells_version_commit_database_and_cache(client: Client) -> None:
    answer = client.get("/api/health")
    assert answer.status == 200
    assert answer.json() == {
        "status": "ok",
        "version": "9.9.9",
        "commit": "0123abc",
        "environment": "test",
        "database": "up",
        "cache": "up",
    }


def test_health_is_503_without_a_cache(environ: dict[str, str]) -> None:
    with Service(environ | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}) as service:
        answer = Client(service.base_url).get("/api/health")
        assert answer.status == 503
        assert answer.json()["cache"] == "down" and answer.json()["database"] == "up"
        assert Client(service.base_url).get("/sign-in").status == 200
        signed = Client(service.base_url, cookies={"session": "x" * 43}).get("/campaigns")
        assert signed.status == 503 and "Traceback" not in signed.text


def test_health_is_503_without_a_database(environ: dict[str, str]) -> None:
    gone = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    with Service(environ | {"DATABASE_URL": gone}) as service:
        answer = Client(service.base_url).get("/api/health")
        assert (answer.status, answer.json()["database"]) == (503, "down")


def test_health_is_503_before_the_migrations(environ: dict[str, str], database_url: str) -> None:
    with Service(environ | {"DATABASE_URL": database_url}) as service:
        answer = Client(service.base_url).get("/api/health")
        assert (answer.status, answer.json()["database"]) == (503, "behind")


def test_a_stranger_has_no_session_and_sees_nothing(client: Client) -> None:
    answer = client.get("/api/auth/session")
    assert (answer.status, answer.json()) == (200, {"session": None})
    for path in (
        "/api/campaigns",
        "/api/campaigns/1",
        "/api/campaigns/1/activity",
        "/api/campaigns/1/assets",
    ):
        assert client.get(path).status == 401
    for path in (
        "/campaigns",
        "/campaigns/new",
        "/campaigns/1",
        "/campaigns/1/edit",
        "/campaigns/1/assets/1",
    ):
        answer = client.get(path)
        assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert client.send("POST", "/api/campaigns", CAMPAIGN).status == 401


def test_signing_in_and_out(client: Client) -> None:
    answer = client.sign_in()
    assert answer.status == 201
    assert client.get("/api/auth/session").json()["session"]["account"]["email"] == EDITOR
    cookie = next(line for line in answer.cookies if line.startswith("session="))
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    kept = dict(client.cookies)
    assert client.request("DELETE", "/api/auth/session").status == 204
    client.cookies = kept
    assert client.get("/api/auth/session").json() == {"session": None}


def test_cookies_are_bound_to_https_where_the_service_is(environ: dict[str, str]) -> None:
    with Service(environ | {"PUBLIC_URL": "https://console.example.com"}) as service:
        client = Client(service.base_url)
        cookie = next(line for line in client.sign_in().cookies if "session=" in line)
        assert cookie.startswith("__Host-session=") and "Secure" in cookie and "Path=/" in cookie
        assert "max-age" in client.get("/sign-in").headers["strict-transport-security"]


def test_wrong_passwords_are_slowed_down_and_say_nothing(client: Client) -> None:
    known = client.sign_in(EDITOR, "wrong")
    unknown = client.sign_in("nobody@example.com", "wrong")
    assert (known.status, known.body) == (unknown.status, unknown.body)
    assert [client.sign_in(EDITOR, "wrong").status for _ in range(5)] == [422, 422, 422, 422, 429]
    limited = client.sign_in(EDITOR, PASSWORD)
    assert limited.status == 429 and 0 < int(limited.headers["retry-after"]) <= 300


def test_a_planted_session_is_replaced_on_sign_in(client: Client) -> None:
    client.cookies["session"] = "planted-by-somebody-else-planted"
    client.sign_in()
    assert client.cookies["session"] != "planted-by-somebody-else-planted"


def test_a_campaign_from_draft_to_archive(editor: Client) -> None:
    campaign = create(editor)
    path = f"/api/campaigns/{campaign['id']}"
    assert (campaign["status"], campaign["budget"], campaign["revision"]) == ("draft", "12.50", 1)
    edited = editor.send("PUT", path, CAMPAIGN | {"name": "Late summer", "revision": 1}).json()
    assert (edited["name"], edited["revision"]) == ("Late summer", 2)
    assert editor.send("PUT", path, CAMPAIGN | {"revision": 1}).status == 409
    assert editor.send("PUT", path, CAMPAIGN).status == 422
    scheduled = editor.send("POST", f"{path}/schedule", {"starts_at": "2031-01-01T09:00:00Z"}).json()
    assert scheduled["status"] == "scheduled"
    assert editor.send("POST", f"{path}/archive").json()["status"] == "archived"
    assert editor.send("POST", f"{path}/schedule", {"starts_at": "2031-01-01T09:00:00Z"}).status == 409
    feed = editor.get(f"{path}/activity").json()["activity"]
    assert [entry["action"] for entry in feed] == ["archived", "scheduled", "edited", "created"]
    listed = editor.get("/api/campaigns?status=archived").json()["campaigns"]
    assert campaign["id"] in [entry["id"] for entry in listed]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"name": {}}', b"[" * 100_000, b"\xff\xfe", b'{"name": "\\u0000"}']
)
def test_a_bad_body_is_422_and_never_500(editor: Client, body: bytes) -> None:
    sent = {"Content-Type": "application/json", "X-CSRF-Token": editor.csrf_token}
    answer = editor.request("POST", "/api/campaigns", body=body, headers=sent)
    assert answer.status == 422 and answer.json()["error"]["fields"]


def test_a_change_needs_the_token_of_its_session(editor: Client, viewer: Client) -> None:
    for wrong in ("", "0" * 64, viewer.csrf_token):
        assert editor.send("POST", "/api/campaigns", CAMPAIGN, {"X-CSRF-Token": wrong}).status == 403
    for origin in ("https://evil.example", "null"):
        assert editor.send("POST", "/api/campaigns", CAMPAIGN, {"Origin": origin}).status == 403
    assert editor.send("POST", "/api/campaigns", CAMPAIGN, {"Sec-Fetch-Site": "cross-site"}).status == 403
    assert editor.send("POST", "/api/campaigns", CAMPAIGN, {"Origin": editor.base_url}).status == 201


def test_a_viewer_reads_and_changes_nothing(viewer: Client) -> None:
    assert viewer.get("/api/campaigns").json()["total"] == 4
    assert viewer.send("POST", "/api/campaigns", CAMPAIGN).status == 403
    for action in ("schedule", "archive", "assets"):
        assert viewer.send("POST", f"/api/campaigns/1/{action}", {}).status == 403
    assert viewer.get("/campaigns/new").status == 403
    assert "/edit" not in viewer.get("/campaigns/1").text


def test_an_asset_is_kept_and_given_back_safely(editor: Client) -> None:
    campaign = create(editor)
    path = f"/api/campaigns/{campaign['id']}/assets"
    headers = {"X-CSRF-Token": editor.csrf_token}
    answer = editor.request("POST", f"{path}?name=..%2Fposter.svg", body=PNG, headers=headers)
    assert answer.status == 201
    asset = answer.json()
    assert (asset["name"], asset["media_type"], asset["size_bytes"]) == ("poster.png", "image/png", len(PNG))
    given = editor.get(asset["url"])
    assert given.body == PNG
    assert given.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in given.headers["content-security-policy"]
    assert editor.get(asset["url"].replace(str(campaign["id"]), "1", 1)).status == 404
    assert len(editor.get(path).json()["assets"]) == 1
    for bad in (b"", b"<svg onload=alert(1)>"):
        assert editor.request("POST", path, body=bad, headers=headers).status == 422


def test_too_much_is_refused_before_it_is_read(editor: Client) -> None:
    headers = {"X-CSRF-Token": editor.csrf_token, "Content-Length": str(50_000_000)}
    assert editor.request("POST", "/api/campaigns/1/assets", body=b"x", headers=headers).status == 413


def test_markup_from_people_is_shown_as_text(editor: Client) -> None:
    campaign = create(editor, name="<script>alert(1)</script>", message='"><img src=x onerror=alert(1)>')
    for path in (f"/campaigns/{campaign['id']}", f"/campaigns/{campaign['id']}/edit", "/campaigns"):
        page = editor.get(path).text
        assert "<script>" not in page and "<img src=x" not in page
        assert "&lt;script&gt;" in page


def test_forms_do_what_the_api_does(client: Client) -> None:
    page = client.get("/sign-in")
    fields = {"csrf_token": token_of(page.text), "email": EDITOR, "password": PASSWORD}
    assert Client(client.base_url).form("/sign-in", fields).status == 403
    assert client.form("/sign-in", fields | {"password": "wrong"}).status == 422
    assert client.form("/sign-in", fields).headers["location"] == "/campaigns"
    token = {"csrf_token": token_of(client.get("/campaigns/new").text)}
    wrong = client.form("/campaigns", token | {"name": "", "channel": "email"})
    assert wrong.status == 422 and 'aria-invalid="true"' in wrong.text
    location = client.form("/campaigns", token | CAMPAIGN).headers["location"].split("?")[0]
    assert client.form("/campaigns", CAMPAIGN).status == 403
    assert client.get(location).status == 200
    edited = client.form(location, token | CAMPAIGN | {"name": "Other", "revision": "1"})
    assert edited.headers["location"] == f"{location}?notice=saved"
    stale = client.form(location, token | CAMPAIGN | {"revision": "1"})
    assert stale.status == 409 and "Somebody else" in stale.text
    early = client.form(f"{location}/schedule", token | {"starts_at": "2001-01-01T00:00"})
    assert early.status == 422 and "must lie in the future" in early.text
    assert client.form(f"{location}/schedule", token | {"starts_at": "2031-01-01T00:00"}).status == 303
    assert client.form(f"{location}/archive", token).status == 303
    assert client.get(f"{location}/edit").status == 409
    assert client.form("/sign-out", {}).status == 403
    assert client.form("/sign-out", token).headers["location"] == "/sign-in"
    assert client.get("/campaigns").status == 303


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/campaigns/999999999", 404),
        ("GET", "/campaigns/99999999999999999999999", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("DELETE", "/campaigns", 405),
        ("GET", "/campaigns?page=-1&status=x&search=%00", 200),
        ("GET", "/api/campaigns?status=nonsense", 422),
        ("GET", "/api/campaigns?page=9999999999", 200),
    ],
)
def test_odd_addresses_have_plain_answers(editor: Client, method: str, path: str, status: int) -> None:
    assert editor.request(method, path).status == status


def test_every_answer_carries_the_security_headers(client: Client) -> None:
    for path in ("/sign-in", "/nothing", "/api/health", "/api/campaigns", "/static/style.css", "/metrics"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-request-id"]
        assert "server" not in headers


def test_metrics_count_by_route_and_not_by_address(environ: dict[str, str]) -> None:
    with Service(environ) as service:
        editor = Client(service.base_url)
        assert editor.sign_in().status == 201
        for number in range(1, 4):
            editor.get(f"/campaigns/{number}")
        editor.get("/random-1")
        text = editor.get("/metrics").text
    assert 'route="/campaigns/{id:int}",status="200"} 3' in text
    assert "random" not in text
    assert 'campaign_console_dependency_up{name="database"} 1' in text
    assert 'campaign_console_events_total{event="sign_in"} 1' in text
