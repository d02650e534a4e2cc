"""Health and smoke checks over HTTP: one request, what its answer must be, and what was found, as
evidence."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from akashic.cancellation import Cancellation
from akashic.delivery.config import CheckConfig, HealthConfig
from akashic.engine.deployment_events import Evidence

BODY_BYTES_MAX = 1_000_000
SHOWN_CHARACTERS_MAX = 200
RETRY_PAUSE_S = 0.5
_MISSING = object()


def check(base_url: str, wanted: CheckConfig, *, address: str = "") -> Evidence:
    """Ask once, or up to `attempts` times while it does not hold. Never raises: what went wrong is the
    evidence's message. Redirects are not followed: they are answers. `address` (`host:port`) is where to
    connect to, for a host name that this machine does not know."""
    evidence = _ask(base_url, wanted, address)
    for _ in range(wanted.attempts - 1):
        if evidence.passed:
            break
        time.sleep(RETRY_PAUSE_S)
        evidence = _ask(base_url, wanted, address)
    return evidence


def check_all(base_url: str, wanted: tuple[CheckConfig, ...], *, address: str = "") -> tuple[Evidence, ...]:
    """All checks, in order, whether or not one before did not hold."""
    return tuple(check(base_url, one, address=address) for one in wanted)


def health_check(health: HealthConfig) -> CheckConfig:
    """The health question as a check."""
    return CheckConfig(name="health", path=health.path, status=(health.status,), timeout_s=health.timeout_s)


def await_healthy(
    base_url: str, health: HealthConfig, *, timeout_s: float, cancellation: Cancellation, alive: Any = None
) -> Evidence:
    """Ask until it is well, `timeout_s` is over, it is cancelled, or `alive()` says why it never will be."""
    wanted = health_check(health)
    deadline = time.monotonic() + timeout_s
    while True:
        evidence = check(base_url, wanted)
        if evidence.passed:
            return evidence
        reason = alive() if alive is not None else ""
        if reason:
            return msgspec.structs.replace(evidence, message=reason)
        if cancellation.is_set():
            return msgspec.structs.replace(evidence, message="cancelled")
        if time.monotonic() >= deadline:
            message = f"not healthy after {timeout_s:.1f} s: {evidence.message}"
            return msgspec.structs.replace(evidence, message=message)
        cancellation.wait(min(health.interval_s, max(0.0, deadline - time.monotonic())))


def failures(evidence: tuple[Evidence, ...]) -> str:
    """One sentence for the checks that did not hold; empty when all did."""
    failed = [one for one in evidence if not one.passed]
    return "; ".join(f"{one.check} ({one.url}): {one.message}" for one in failed)


def _ask(base_url: str, wanted: CheckConfig, address: str) -> Evidence:
    import http.client

    url = base_url.rstrip("/") + wanted.path
    name = wanted.name or f"{wanted.method} {wanted.path}"
    parts = urlsplit(url)
    started = time.monotonic()
    status, message = 0, ""
    secure = parts.scheme == "https" and not address
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    host, _, port = address.rpartition(":")
    connection = kind(
        host or parts.hostname or "", int(port or parts.port or 0) or None, timeout=wanted.timeout_s
    )
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"User-Agent": "akashic-check", "Connection": "close", **wanted.request_headers}
        if address:
            headers.setdefault("Host", parts.netloc)
        connection.request(wanted.method, target, body=wanted.body or None, headers=headers)
        answer = connection.getresponse()
        body = _body(answer, started + wanted.timeout_s)
        status = answer.status
        message = _difference(wanted, status, dict(answer.getheaders()), body)
    except TimeoutError:
        message = f"no answer within {wanted.timeout_s:g} s"
    except ConnectionRefusedError:
        message = "nothing listens there"
    except (OSError, http.client.HTTPException, ValueError) as error:
        message = f"{type(error).__name__}: {_short(str(error))}"
    finally:
        connection.close()
    duration_s = round(time.monotonic() - started, 4)
    return Evidence(
        check=name, url=url, passed=not message, message=message, status=status, duration_s=duration_s
    )


def _body(answer: Any, deadline: float) -> bytes:
    """The body up to its limit; an answer that trickles in is bounded by the deadline too."""
    body = b""
    while len(body) < BODY_BYTES_MAX:
        part = answer.read1(65_536)
        if not part:
            break
        body += part
        if time.monotonic() > deadline:
            raise TimeoutError
    return body


def _difference(wanted: CheckConfig, status: int, headers: dict[str, str], body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    if status not in wanted.status:
        expected = " or ".join(map(str, wanted.status))
        return f"expected status {expected}, found {status}" + (f": {_short(text)}" if text.strip() else "")
    if wanted.contains and wanted.contains not in text:
        return f"expected a body that contains {wanted.contains!r}, found {_short(text)!r}"
    found_headers = {name.lower(): value for name, value in headers.items()}
    for name, part in wanted.headers.items():
        value = found_headers.get(name.lower())
        if value is None:
            return f"expected the header {name}, which is not there"
        if part not in value:
            return f"expected the header {name} to contain {part!r}, found {_short(value)!r}"
    if not wanted.json:
        return ""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return f"expected JSON, found {_short(text)!r}"
    for path, expected_value in wanted.json.items():
        found = _field(document, path)
        if found is _MISSING:
            return f"expected the JSON field {path} to be {expected_value!r}; there is no such field"
        if found != expected_value or isinstance(found, bool) != isinstance(expected_value, bool):
            return f"expected the JSON field {path} to be {expected_value!r}, found {_short(repr(found))}"
    return ""


def _field(document: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return _MISSING
    return document


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS_MAX else line[: SHOWN_CHARACTERS_MAX - 1] + "…"
