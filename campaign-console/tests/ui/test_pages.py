"""What a person does, in a real browser against the whole service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser import launched
from conftest import EDITOR, PASSWORD, VIEWER, Client, Service

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    context = browser.new_context(base_url=service.base_url)
    context.set_default_timeout(10_000)
    page = context.new_page()
    # A policy violation or a broken style sheet shows up on the console.
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "Policy" in message.text else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def sign_in(page: Page, service: Service, email: str = EDITOR) -> None:
    """Signed in already: with the cookies of a session. The form itself has its own tests."""
    client = Client(service.base_url)
    assert client.sign_in(email).status == 201
    page.context.add_cookies(
        [{"name": name, "value": value, "url": service.base_url} for name, value in client.cookies.items()]
    )
    page.goto("/campaigns")
    expect(page.get_by_role("heading", name="Campaigns")).to_be_visible()


def test_a_wrong_password_is_told_and_a_right_one_opens(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Mail address").fill(EDITOR)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    expect(page.get_by_label("Mail address")).to_have_value(EDITOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Campaigns")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_campaign_is_created_edited_scheduled_and_archived(
    page: Page, service: Service, tmp_path: Path
) -> None:
    sign_in(page, service)
    page.get_by_role("link", name="New campaign").click()
    page.get_by_role("button", name="Create campaign").click()
    expect(page.get_by_text("Give the campaign a name.")).to_be_visible()
    page.get_by_label("Name").fill("Night market")
    page.get_by_role("radio", name="Print").check()
    page.get_by_label("Message").fill("Come hungry.")
    page.get_by_label("Budget").fill("900")
    page.get_by_role("button", name="Create campaign").click()
    expect(page.get_by_role("status")).to_contain_text("has been created")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Name").fill("Night market, north")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Night market, north")
    page.get_by_label("Start (UTC)").fill("2035-05-01T18:00")
    page.get_by_role("button", name="Schedule").click()
    expect(page.get_by_role("status")).to_contain_text("has been scheduled")
    (tmp_path / "stall.png").write_bytes(PNG)
    page.get_by_label("Add a file").set_input_files(tmp_path / "stall.png")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("link", name="stall.png")).to_be_visible()
    feed = page.get_by_role("region", name="Activity").get_by_role("listitem")
    expect(feed).to_have_count(4)
    page.get_by_role("button", name="Archive").click()
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)


def test_a_viewer_is_offered_nothing_to_change(page: Page, service: Service) -> None:
    sign_in(page, service, VIEWER)
    expect(page.get_by_role("link", name="New campaign")).to_have_count(0)
    page.get_by_role("link", name="Bring a friend").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Bring a friend")
    expect(page.locator("main form")).to_have_count(0)


def test_the_keyboard_is_enough_to_sign_in_and_search(page: Page) -> None:
    page.goto("/sign-in")
    expect(page.get_by_label("Mail address")).to_be_focused()
    page.keyboard.type(EDITOR)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Campaigns")).to_be_visible()
    page.get_by_role("searchbox").focus()
    page.keyboard.type("spring")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_page_scrolls_sideways(page: Page, service: Service, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, service)
    for path in ("/campaigns", "/campaigns/1", "/campaigns/new"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
