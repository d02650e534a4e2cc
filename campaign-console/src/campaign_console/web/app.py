"""The ASGI application: routes, errors, life span."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from campaign_console.campaigns import Conflict, InvalidCampaign, NotFound
from campaign_console.ports.storage import StorageError
from campaign_console.services import Services
from campaign_console.web import api, operations, pages
from campaign_console.web.middleware import RequestMiddleware
from campaign_console.web.rendering import STATIC, render
from campaign_console.web.security import Refused

_log = logging.getLogger(__name__)
_FOREVER = "public, max-age=31536000, immutable"


def create_app(services: Services) -> Starlette:
    """The application around its parts; its life span opens and closes them."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await services.open()
        yield
        await services.close()

    app = Starlette(
        routes=_routes(),
        lifespan=lifespan,
        middleware=[Middleware(RequestMiddleware, services=services, on_bug=_on_bug)],
        exception_handlers={
            Refused: _on_refused,
            InvalidCampaign: _on_invalid,
            NotFound: _on_not_found,
            Conflict: _on_conflict,
            HTTPException: _on_http,
            psycopg.OperationalError: _on_unavailable,
            psycopg.InterfaceError: _on_unavailable,
            PoolTimeout: _on_unavailable,
            RedisError: _on_unavailable,
            StorageError: _on_unavailable,
        },
    )
    app.state.services = services
    return app


def _routes() -> list[Route]:
    return [
        Route("/", pages.home, methods=["GET"]),
        Route("/sign-in", pages.sign_in_form, methods=["GET"]),
        Route("/sign-in", pages.sign_in_submit, methods=["POST"]),
        Route("/sign-out", pages.sign_out, methods=["POST"]),
        Route("/campaigns", pages.list_campaigns, methods=["GET"]),
        Route("/campaigns", pages.create_campaign, methods=["POST"]),
        Route("/campaigns/new", pages.new_campaign, methods=["GET"]),
        Route("/campaigns/{id:int}", pages.show_campaign, methods=["GET"]),
        Route("/campaigns/{id:int}", pages.edit_campaign, methods=["POST"]),
        Route("/campaigns/{id:int}/edit", pages.edit_form, methods=["GET"]),
        Route("/campaigns/{id:int}/schedule", pages.schedule_campaign, methods=["POST"]),
        Route("/campaigns/{id:int}/archive", pages.archive_campaign, methods=["POST"]),
        Route("/campaigns/{id:int}/assets", pages.upload_asset, methods=["POST"]),
        Route("/campaigns/{id:int}/assets/{asset_id:int}", pages.download_asset, methods=["GET"]),
        Route("/api/health", operations.health, methods=["GET"]),
        Route("/api/auth/session", api.session, methods=["GET"]),
        Route("/api/auth/session", api.create_session, methods=["POST"]),
        Route("/api/auth/session", api.end_session, methods=["DELETE"]),
        Route("/api/campaigns", api.list_campaigns, methods=["GET"]),
        Route("/api/campaigns", api.create_campaign, methods=["POST"]),
        Route("/api/campaigns/{id:int}", api.get_campaign, methods=["GET"]),
        Route("/api/campaigns/{id:int}", api.edit_campaign, methods=["PUT"]),
        Route("/api/campaigns/{id:int}/schedule", api.schedule_campaign, methods=["POST"]),
        Route("/api/campaigns/{id:int}/archive", api.archive_campaign, methods=["POST"]),
        Route("/api/campaigns/{id:int}/activity", api.list_activity, methods=["GET"]),
        Route("/api/campaigns/{id:int}/assets", api.list_assets, methods=["GET"]),
        Route("/api/campaigns/{id:int}/assets", api.upload_asset, methods=["POST"]),
        Route("/metrics", operations.metrics, methods=["GET"]),
        Route("/static/style.css", _static("style.css", "text/css"), methods=["GET"]),
        Route("/favicon.ico", _static("favicon.svg", "image/svg+xml"), methods=["GET"]),
        Route("/static/favicon.svg", _static("favicon.svg", "image/svg+xml"), methods=["GET"]),
    ]


def _static(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    """Serves one known file: no path comes from outside."""

    async def serve(request: Request) -> Response:
        return FileResponse(STATIC / name, media_type=media_type, headers={"Cache-Control": _FOREVER})

    return serve


def _error(
    request: Request,
    status: int,
    message: str,
    *,
    fields: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse(api.error_json(message, fields), status_code=status, headers=headers)
    response = render(request, "error.html", status=status, visitor=None, code=status, message=message)
    response.headers.update(headers or {})
    return response


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    if error.status == 401 and not request.url.path.startswith("/api/"):
        return RedirectResponse("/sign-in", status_code=303)
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
    return _error(request, error.status, error.message, headers=headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidCampaign)
    return _error(request, 422, "Some of this cannot be kept.", fields=error.problems)


async def _on_not_found(request: Request, error: Exception) -> Response:
    return _error(request, 404, str(error))


async def _on_conflict(request: Request, error: Exception) -> Response:
    return _error(request, 409, str(error))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "There is nothing here.", 405: "This address does not take that kind of request."}.get(
        error.status_code, error.detail
    )
    return _error(request, error.status_code, message, headers=dict(error.headers or {}))


async def _on_unavailable(request: Request, error: Exception) -> Response:
    _log.error("a backing service failed: %s: %s", type(error).__name__, error)
    return _error(
        request,
        503,
        "The console cannot reach one of its services. Try again in a moment.",
        headers={"Retry-After": "5"},
    )


def _on_bug(request: Request) -> Response:
    return _error(request, 500, "Something went wrong on our side. It has been written to the log.")
