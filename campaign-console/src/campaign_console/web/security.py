"""Who asks, whether they may, and whether it was really they who asked."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from campaign_console.accounts import Account
from campaign_console.rate_limits import CHANGES, SIGN_IN_ADDRESS, SIGN_IN_CLIENT
from campaign_console.services import Services
from campaign_console.sessions import LIFETIME_S, Session

ResponseT = TypeVar("ResponseT", bound=Response)


class Refused(Exception):
    """The request is not carried out. `status` 401, 403, 422 or 429; `retry_after_s` for 429."""

    def __init__(self, status: int, message: str, *, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who is signed in."""

    account: Account
    session: Session
    csrf_token: str


def services_of(request: Request) -> Services:
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


def cookie_name(services: Services, purpose: str) -> str:
    """`__Host-` binds a cookie to this host and to HTTPS; plain HTTP (a laptop) cannot use the prefix."""
    return f"__Host-{purpose}" if services.settings.cookie_secure else purpose


async def visitor_or_none(request: Request) -> Visitor | None:
    """Who is signed in with this request's cookie, or None."""
    services = services_of(request)
    session = await services.sessions.find(request.cookies.get(cookie_name(services, "session")))
    if session is None:
        return None
    account = await services.accounts.find(session.account_id)
    if account is None:
        return None
    return Visitor(account=account, session=session, csrf_token=services.sessions.csrf_token(session.token))


async def visitor(request: Request) -> Visitor:
    """Raises Refused (401) for somebody who is not signed in."""
    found = await visitor_or_none(request)
    if found is None:
        raise Refused(401, "Sign in first.")
    return found


async def editor(request: Request, *, csrf_token: str) -> Visitor:
    """Somebody who may change campaigns, and whose own page sent this.

    Raises Refused: 401 not signed in, 403 viewer or forged, 429 too many changes.
    """
    found = await visitor(request)
    check_origin(request)
    services = services_of(request)
    if not services.sessions.csrf_valid(found.session.token, csrf_token):
        raise Refused(403, "This form has expired. Load the page again, then repeat what you did.")
    if not found.account.can_edit:
        raise Refused(403, "You may look at campaigns, but not change them.")
    wait_s = await services.limits.take(CHANGES, str(found.account.id))
    if wait_s:
        raise Refused(429, "That was a lot in a short time. Wait a moment.", retry_after_s=wait_s)
    return found


def check_origin(request: Request) -> None:
    """Raises Refused (403) when another site's page sent this."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Refused(403, "This request came from another site.")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "This request came from another site.")


def anonymous_token(request: Request) -> tuple[str, str]:
    """For the sign-in form, which has no session yet: the cookie's value and the form's token."""
    services = services_of(request)
    given = request.cookies.get(cookie_name(services, "visit"), "")
    value = given if 20 <= len(given) <= 64 else secrets.token_urlsafe(24)
    return value, services.sessions.csrf_token(value)


def check_anonymous(request: Request, csrf_token: str) -> None:
    """Raises Refused (403) when the sign-in form was not ours."""
    check_origin(request)
    services = services_of(request)
    value = request.cookies.get(cookie_name(services, "visit"), "")
    if not value or not services.sessions.csrf_valid(value, csrf_token):
        raise Refused(403, "This form has expired. Load the page again, then sign in.")


async def sign_in(request: Request, *, email: str, password: str) -> tuple[Account, Session]:
    """Check address and password and begin a session.

    Raises Refused: 422 for a wrong pair (the same words whatever was wrong), 429 after too many tries.
    """
    services = services_of(request)
    client = request.client.host if request.client else "unknown"
    email = email.strip()[:320].replace("\0", "")
    subject = f"{client}|{email.lower()}"
    # Counted before the password is looked at, so that many tries at once do not slip through.
    wait_s = max(
        await services.limits.take(SIGN_IN_ADDRESS, subject),
        await services.limits.take(SIGN_IN_CLIENT, client),
    )
    if wait_s:
        services.metrics.count("sign_in_limited")
        raise Refused(429, "Too many tries. Wait a few minutes, then try again.", retry_after_s=wait_s)
    account = await services.accounts.authenticate(email, password[:1_000])
    if account is None:
        services.metrics.count("sign_in_failed")
        raise Refused(422, "That address and password do not belong together.")
    await services.limits.forgive(SIGN_IN_ADDRESS, subject)
    await services.limits.forgive(SIGN_IN_CLIENT, client)
    # Always a new token: one that was planted in the browser before is worth nothing afterwards.
    old = request.cookies.get(cookie_name(services, "session"))
    if old:
        await services.sessions.end(old[:128])
    session = await services.sessions.create(account.id)
    services.metrics.count("sign_in")
    return account, session


def set_cookie(response: ResponseT, services: Services, purpose: str, value: str) -> ResponseT:
    response.set_cookie(
        cookie_name(services, purpose),
        value,
        max_age=LIFETIME_S,
        path="/",
        httponly=True,
        samesite="lax",
        secure=services.settings.cookie_secure,
    )
    return response


def delete_cookie(response: ResponseT, services: Services, purpose: str) -> ResponseT:
    response.delete_cookie(
        cookie_name(services, purpose),
        path="/",
        httponly=True,
        samesite="lax",
        secure=services.settings.cookie_secure,
    )
    return response
