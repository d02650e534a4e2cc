"""HTTP to registries: TLS or not, redirects, connections used again, and who gets the credentials."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from akashic.containers.references import HUB
from akashic.errors import AkashicError, UsageError
from akashic.images.store import DOCUMENT_BYTES_MAX

if TYPE_CHECKING:
    from email.message import Message

TIMEOUT_S = 60.0
REDIRECTS_MAX = 5
USER_AGENT = "akashic"
_HUB_HOST = "registry-1.docker.io"
_SENDING = 1 << 20


class RegistryUnreachable(AkashicError):
    """No answer from a registry."""


class Reply:
    """One answer. `body` is read unless it was asked for as a stream."""

    def __init__(self, response: http.client.HTTPResponse, *, stream: bool) -> None:
        self._response = response
        self.status = response.status
        headers: Message = response.headers
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = b""
        if not stream:
            self.body = response.read(DOCUMENT_BYTES_MAX + 1)
            if len(self.body) > DOCUMENT_BYTES_MAX:
                raise AkashicError(f"a registry answered with more than {DOCUMENT_BYTES_MAX} bytes")

    def read(self, size_bytes: int) -> bytes:
        """More of a stream, empty at its end."""
        return self._response.read(size_bytes)

    def text(self) -> str:
        """The beginning of the answer, for a message."""
        return (self.body or self._response.read(4096)).decode("utf-8", "replace")

    def close(self) -> None:
        """End the answer, read or not."""
        self._response.close()


class Connections:
    """The connections to one registry and to where it sends us.

    `insecure`: certificates are not checked, and plain HTTP is used where TLS is not spoken. A registry on
    this machine's loopback is treated so without being asked, as container engines do; other machines that it
    leads to are not.
    """

    def __init__(self, host: str, *, insecure: bool, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._host = _HUB_HOST if host in (HUB, f"index.{HUB}") else host
        self._insecure = insecure
        self._near = is_loopback(host)
        self._scheme = ""
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def close(self) -> None:
        """End all connections."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def base(self) -> str:
        """`https://host`, or `http://host` where that is allowed and TLS is not spoken."""
        if not self._scheme:
            self._scheme = "https"
            if self._lenient(self._host):
                try:
                    self._send("HEAD", "https", self._host, "/v2/", {}, None).read()
                except (OSError, http.client.HTTPException):
                    self._scheme = "http"
                self.close()
        return f"{self._scheme}://{self._host}"

    def _lenient(self, netloc: str) -> bool:
        return self._insecure or (self._near and is_loopback(netloc))

    def check_realm(self, url: str) -> None:
        """Raises UsageError unless credentials may be sent to a token server."""
        parts = urlsplit(url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and self._lenient(parts.netloc))
        if not parts.hostname or not secure:
            raise UsageError(
                f"{self._host}: the registry asks to sign in at {url[:200]!r}, which is not https",
                hint="--insecure allows it for a registry that you trust",
            )

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Path | None,
        stream: bool,
    ) -> Reply:
        """Send one request, redirects of reads followed. Raises RegistryUnreachable."""
        sent = dict(headers)
        for _ in range(REDIRECTS_MAX):
            parts = urlsplit(url)
            if parts.scheme not in ("https", "http") or not parts.netloc or "@" in parts.netloc:
                raise RegistryUnreachable(f"{self._host}: the registry leads to {url[:200]!r}")
            if parts.scheme == "http" and not self._lenient(parts.netloc):
                raise RegistryUnreachable(f"{self._host}: the registry leads to {url[:200]!r}, not encrypted")
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            response = self._try(method, parts.scheme, parts.netloc, target, sent, body)
            if response.status not in (301, 302, 303, 307, 308) or method not in ("GET", "HEAD"):
                return Reply(response, stream=stream)
            response.read()
            following = urljoin(url, response.headers.get("Location", ""))
            if urlsplit(following)[:2] != parts[:2]:
                # A storage server is nobody to know who we are; its URL is signed already.
                sent.pop("Authorization", None)
            url = following
        raise RegistryUnreachable(f"{self._host}: more than {REDIRECTS_MAX} redirects")

    def _try(
        self,
        method: str,
        scheme: str,
        netloc: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Path | None,
    ) -> http.client.HTTPResponse:
        reused = (scheme, netloc) in self._open
        try:
            return self._send(method, scheme, netloc, target, headers, body)
        except (OSError, http.client.HTTPException) as error:
            self._drop(scheme, netloc)
            if not reused:
                raise _unreachable(netloc, error) from None
        # A connection that was kept may have been closed by the other side meanwhile.
        try:
            return self._send(method, scheme, netloc, target, headers, body)
        except (OSError, http.client.HTTPException) as error:
            self._drop(scheme, netloc)
            raise _unreachable(netloc, error) from None

    def _send(
        self,
        method: str,
        scheme: str,
        netloc: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Path | None,
    ) -> http.client.HTTPResponse:
        connection = self._connection(scheme, netloc)
        sent = {"User-Agent": USER_AGENT, **headers}
        if isinstance(body, Path):
            with body.open("rb") as file:
                sent["Content-Length"] = str(body.stat().st_size)
                connection.blocksize = _SENDING
                connection.request(method, target, body=file, headers=sent)
        else:
            if method in ("POST", "PUT"):
                sent["Content-Length"] = str(len(body or b""))
            connection.request(method, target, body=body, headers=sent)
        return connection.getresponse()

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        found = self._open.get((scheme, netloc))
        if found is not None:
            return found
        if scheme == "http":
            made = http.client.HTTPConnection(netloc, timeout=self._timeout_s)
        else:
            context = ssl.create_default_context()
            if self._lenient(netloc):
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            made = http.client.HTTPSConnection(netloc, timeout=self._timeout_s, context=context)
        self._open[scheme, netloc] = made
        return made

    def _drop(self, scheme: str, netloc: str) -> None:
        connection = self._open.pop((scheme, netloc), None)
        if connection is not None:
            with suppress(OSError):
                connection.close()


def is_loopback(host: str) -> bool:
    """Whether a registry's `host[:port]` is this machine's loopback."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _unreachable(netloc: str, error: Exception) -> RegistryUnreachable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return RegistryUnreachable(
            f"{netloc}: its certificate is not trusted: {error.verify_message}",
            hint="--insecure accepts it for a registry that you trust",
        )
    if isinstance(error, ssl.SSLError):
        return RegistryUnreachable(
            f"{netloc}: it does not speak TLS",
            hint="--insecure allows plain HTTP for a registry that you trust",
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "no answer"
    return RegistryUnreachable(f"{netloc}: the registry does not answer: {reason}")
