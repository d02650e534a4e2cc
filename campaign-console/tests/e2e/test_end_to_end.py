"""Does the deployment do what it is for? In a browser where there is one, else over HTTP."""

from __future__ import annotations

import secrets

import pytest
from playwright.sync_api import expect

from browser import executable, launched
from conftest import Client

pytestmark = pytest.mark.e2e


def test_it_is_healthy(stranger: Client) -> None:
    answer = stranger.get("/api/health")
    assert answer.status == 200, answer.text
    assert (answer.json()["database"], answer.json()["cache"]) == ("up", "up")


def test_a_campaign_goes_all_the_way_over_http(member: Client) -> None:
    created = member.send(
        "POST", "/api/campaigns", {"name": f"Check {secrets.token_hex(4)}", "channel": "email"}
    )
    assert created.status == 201
    path = f"/api/campaigns/{created.json()['id']}"
    assert member.send("POST", f"{path}/schedule", {"starts_at": "2035-01-01T00:00"}).status == 200
    assert member.send("POST", f"{path}/archive").status == 200
    actions = [entry["action"] for entry in member.get(f"{path}/activity").json()["activity"]]
    assert actions == ["archived", "scheduled", "created"]


def test_a_campaign_goes_all_the_way_in_a_browser(base_url: str, credentials: tuple[str, str]) -> None:
    if executable() is None:
        pytest.skip("no Chromium on this machine: the HTTP test above stands alone")
    name = f"Check {secrets.token_hex(4)}"
    with launched() as browser:
        page = browser.new_page(base_url=base_url)
        page.goto("/")
        page.get_by_label("Mail address").fill(credentials[0])
        page.get_by_label("Password").fill(credentials[1])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="New campaign").click()
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Create campaign").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        page.get_by_role("button", name="Archive").click()
        expect(page.get_by_role("status")).to_contain_text("has been archived")
