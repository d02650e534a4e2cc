"""Runs the application with uvicorn, and stops it without dropping anybody.

On SIGTERM the listening socket is closed at once; requests that were accepted are answered; connections
that are kept alive get `Connection: close` with their next answer; background work is finished.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time

import uvicorn

from campaign_console import logs
from campaign_console.services import Services
from campaign_console.settings import Settings
from campaign_console.web.app import create_app

_log = logging.getLogger(__name__)
# How long an idle kept-alive connection may still send one more request.
DRAIN_S = 1.0


class GracefulServer(uvicorn.Server):
    """uvicorn's server with a drain before its shutdown."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.draining = True
        # One turn of the loop: what the kernel has accepted for us is taken in before the door closes.
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        deadline = time.monotonic() + DRAIN_S
        while self.server_state.connections and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def build(settings: Settings) -> GracefulServer:
    """The server, ready for `run()`."""
    services = Services.build(settings)
    config = uvicorn.Config(
        create_app(services),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
        # X-Forwarded-For is believed from FORWARDED_ALLOW_IPS (default: this machine) only.
        proxy_headers=True,
    )
    return GracefulServer(config, services)


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    logs.configure(settings.log_level)
    if settings.environment == "production" and not settings.cookie_secure:
        _log.warning("PUBLIC_URL is not HTTPS, so cookies are not marked Secure")
    server = build(settings)
    _log.info(
        "starting",
        extra={"fields": {"version": settings.version, "commit": settings.commit, "port": settings.port}},
    )
    # uvicorn raises the signal again after its clean shutdown; a clean end is exit code 0, not a death.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
    return 0 if server.started else 1
