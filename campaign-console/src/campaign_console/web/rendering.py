"""Templates: loaded once, everything escaped, times and amounts written for people."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from campaign_console.web.security import services_of

STATIC = Path(__file__).parent / "static"


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """The page as a response. `visitor` must be among the values (None for a stranger)."""
    values.setdefault("csrf_token", values["visitor"].csrf_token if values["visitor"] else "")
    values.setdefault("notice", None)
    values.setdefault("alert", None)
    settings = services_of(request).settings
    html = (
        _environment()
        .get_template(template)
        .render(
            request=request,
            now=datetime.now(UTC),
            version=settings.version,
            environment=settings.environment,
            style_url=style_url(),
            **values,
        )
    )
    return HTMLResponse(html, status_code=status)


@cache
def style_url() -> str:
    """The style sheet's address carries a digest, so that browsers may keep it for ever."""
    digest = hashlib.sha256((STATIC / "style.css").read_bytes()).hexdigest()[:12]
    return f"/static/style.css?v={digest}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["money"] = money
    environment.filters["day"] = lambda moment: f"{moment.astimezone(UTC):%-d %b %Y}"
    environment.filters["minute"] = lambda moment: f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC"
    environment.filters["ago"] = ago
    environment.filters["size"] = size
    return environment


def money(cents: int) -> str:
    """`1,250` or `1,250.50`."""
    whole, rest = divmod(cents, 100)
    return f"{whole:,}.{rest:02d}" if rest else f"{whole:,}"


def ago(moment: datetime, now: datetime) -> str:
    """`just now`, `5 minutes ago`, …; the day once it is more than a week."""
    seconds = max(0, int((now - moment).total_seconds()))
    if seconds < 60:
        return "just now"
    for length, word, limit in ((60, "minute", 3600), (3600, "hour", 86_400), (86_400, "day", 7 * 86_400)):
        if seconds < limit:
            number = seconds // length
            return f"{number} {word}{'' if number == 1 else 's'} ago"
    return f"{moment.astimezone(UTC):%-d %b %Y}"


def size(size_bytes: int) -> str:
    """`640 B`, `12 kB`, `3.4 MB`."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1000:.0f} kB"
    return f"{size_bytes / 1_000_000:.1f} MB"
