"""The structure that assistive technology needs, checked in the HTML that is served."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from conftest import Client

pytestmark = pytest.mark.e2e
_NO_LABEL = ("hidden", "submit", "button")


class Structure(HTMLParser):
    """Collects what the checks look at."""

    def __init__(self) -> None:
        super().__init__()
        self.language = ""
        self.title = ""
        self.ids: list[str] = []
        self.landmarks: list[str] = []
        self.headings: list[int] = []
        self.fields: list[tuple[str, bool]] = []
        self.labels: set[str] = set()
        self.described: list[str] = []
        self.images_without_text: list[str] = []
        self._inside_label = 0
        self._inside_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "html":
            self.language = values.get("lang", "")
        elif tag == "title":
            self._inside_title = True
        elif tag in ("main", "header", "footer"):
            self.landmarks.append(tag)
        elif tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))
        elif tag == "label":
            self._inside_label += 1
            self.labels.add(values.get("for", ""))
        elif tag in ("input", "textarea", "select") and values.get("type") not in _NO_LABEL:
            named = self._inside_label > 0 or "aria-label" in values
            self.fields.append((values.get("id", ""), named))
        elif tag == "img" and "alt" not in values:
            self.images_without_text.append(values.get("src", ""))
        self.described += (
            values.get("aria-describedby", "").split() + values.get("aria-labelledby", "").split()
        )

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self._inside_label -= 1
        elif tag == "title":
            self._inside_title = False

    def handle_data(self, data: str) -> None:
        if self._inside_title:
            self.title += data


def check(text: str) -> None:
    page = Structure()
    page.feed(text)
    assert page.language == "en"
    assert page.title.strip()
    assert page.landmarks.count("main") == 1 and "header" in page.landmarks
    assert page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), page.headings
    assert len(page.ids) == len(set(page.ids)), "an id is used twice"
    unlabelled = [name for name, named in page.fields if not named and name not in page.labels]
    assert unlabelled == []
    assert [name for name in page.described if name not in page.ids] == []
    assert page.images_without_text == []
    assert 'href="#content"' in text and 'id="content"' in text


def test_the_sign_in_page_has_its_structure(stranger: Client) -> None:
    check(stranger.get("/sign-in").text)


@pytest.mark.parametrize("path", ["/campaigns", "/campaigns/new", "/campaigns?search=zzzz", "/nothing-here"])
def test_pages_have_their_structure(member: Client, path: str) -> None:
    check(member.get(path).text)


def test_a_campaign_and_its_form_have_their_structure(member: Client) -> None:
    first = member.get("/api/campaigns").json()["campaigns"][0]["id"]
    check(member.get(f"/campaigns/{first}").text)
    check(member.get(f"/campaigns/{first}/edit").text)


def test_a_form_with_mistakes_points_at_them(member: Client) -> None:
    answer = member.form("/campaigns", {"csrf_token": member.csrf_token, "name": "", "channel": "email"})
    assert answer.status == 422
    check(answer.text)
    assert 'aria-invalid="true"' in answer.text and 'role="alert"' in answer.text
