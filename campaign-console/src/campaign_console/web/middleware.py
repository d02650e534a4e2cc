"""What happens around every request: an id, a log line, metrics, security headers, a limit on its size."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from campaign_console.logs import request_id
from campaign_console.media import SIZE_BYTES_MAX
from campaign_console.services import Services

_log = logging.getLogger("campaign_console.requests")
_BODY_BYTES_MAX = SIZE_BYTES_MAX + 64 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/api/health", "/metrics")

# No script at all: the pages need none, so none that somebody smuggles in can run.
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)


class BodyTooLarge(Exception):
    """More was sent than is ever accepted."""


class RequestMiddleware:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, services: Services, on_bug: Callable[[Request], Response]) -> None:
        self._app = app
        self._services = services
        self._on_bug = on_bug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        identifier = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        token = request_id.set(identifier)
        started = time.perf_counter()
        status = 500
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                self._add_headers(MutableHeaders(scope=message), identifier)
            await send(message)

        metrics = self._services.metrics
        metrics.in_flight += 1
        try:
            if _declared_length(headers) > _BODY_BYTES_MAX:
                raise BodyTooLarge
            await self._app(scope, _limited(receive), send_with_headers)
        except BodyTooLarge:
            if not begun:
                answer = PlainTextResponse("More was sent than is accepted.\n", status_code=413)
                await answer(scope, receive, send_with_headers)
        except Exception:
            # The boundary: a mistake of ours costs one request, is logged once, and shows nothing of itself.
            _log.exception("unexpected error")
            if not begun:
                await self._on_bug(Request(scope))(scope, receive, send_with_headers)
        finally:
            metrics.in_flight -= 1
            duration_s = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "(none)")
            metrics.observe(_method(scope), route, status, duration_s)
            if scope["path"] not in _QUIET or status >= 500:
                self._write_log(scope, status, duration_s)
            request_id.reset(token)

    def _add_headers(self, headers: MutableHeaders, identifier: str) -> None:
        headers["X-Request-ID"] = identifier
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        headers.setdefault("Content-Security-Policy", _POLICY)
        # Pages and answers are personal; only files with a version in their address are kept.
        headers.setdefault("Cache-Control", "no-store")
        if self._services.settings.cookie_secure:
            headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
        if self._services.draining:
            # A client with a kept-alive connection is told to open another, instead of meeting a closed one.
            headers["Connection"] = "close"

    def _write_log(self, scope: Scope, status: int, duration_s: float) -> None:
        client = scope.get("client")
        fields = {
            "method": _method(scope),
            "path": scope["path"],
            "status": status,
            "duration_ms": round(duration_s * 1000, 1),
            "client": client[0] if client else None,
        }
        level = logging.ERROR if status >= 500 else logging.INFO
        _log.log(level, "request", extra={"fields": fields})


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "OTHER"


def _declared_length(headers: Headers) -> int:
    value = headers.get("content-length", "0")
    return int(value) if value.isascii() and value.isdigit() else 0


def _limited(receive: Receive) -> Receive:
    received = 0

    async def wrapped() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > _BODY_BYTES_MAX:
            raise BodyTooLarge
        return message

    return wrapped
