"""The services that actions call, for one run: nothing until the first job asks for them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from akashic.app.application import Application
from akashic.engine.requests import JobRequest
from akashic.runner.parts import JobServices

if TYPE_CHECKING:
    from akashic.toolkit.services import Services

ISSUER_VARIABLE = "AKASHIC_OIDC_ISSUER"


class RunServices:
    """Opens and closes them. Thread-safe: jobs run in threads of their own."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._services: Services | None = None
        self._lock = threading.Lock()

    def open_job(self, request: JobRequest, address: str) -> JobServices:
        """Let a job in, at an address of this machine. Raises AkashicError."""
        with self._lock:
            if self._services is None:
                self._services = self._start()
        return self._services.open_job(request, address)

    def close(self) -> None:
        """The run has ended."""
        with self._lock:
            services, self._services = self._services, None
        if services is not None:
            services.close()

    def _start(self) -> Services:
        # Imported here: most runs never call a service, and start without a server.
        from akashic.toolkit.keys import key_path
        from akashic.toolkit.services import Services

        application = self._application
        return Services(
            artifact_store=application.artifacts,
            cache_store=application.caches,
            key_path=key_path(application.environ),
            now=application.clock.now,
            issuer=application.environ.get(ISSUER_VARIABLE, ""),
        )
