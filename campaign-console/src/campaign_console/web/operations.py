"""What machines ask: health, metrics."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from campaign_console.web.security import services_of


async def health(request: Request) -> Response:
    """200 when database (with its schema) and cache answer, else 503; the same body either way."""
    services = services_of(request)
    database, cache = await asyncio.gather(services.check_database(), services.check_cache())
    healthy = database == "up" and cache == "up" and not services.draining
    return JSONResponse(
        {
            "status": "draining" if services.draining else "ok" if healthy else "unavailable",
            "version": services.settings.version,
            "commit": services.settings.commit,
            "environment": services.settings.environment,
            "database": database,
            "cache": cache,
        },
        status_code=200 if healthy else 503,
    )


async def metrics(request: Request) -> Response:
    services = services_of(request)
    database, cache = await asyncio.gather(services.check_database(), services.check_cache())
    text = services.metrics.render(dependencies_up={"database": database == "up", "cache": cache == "up"})
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
