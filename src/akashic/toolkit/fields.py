"""Requests and answers in JSON, as protobuf writes them.

Names of fields come in snake_case or camelCase, 64-bit numbers as text or number, wrapped values as they are
or as `{"value": …}`; what is not known is ignored. Source: protobuf's "ProtoJSON format" and Twirp's errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from akashic.toolkit.http import HttpError, Request, Response

_UPPER = re.compile(r"(?<=[a-z0-9])([A-Z])")
TWIRP_STATUS = {
    "invalid_argument": 400,
    "malformed": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "bad_route": 404,
    "already_exists": 409,
    "internal": 500,
}


class TwirpError(HttpError):
    """An error in Twirp's words; its code decides the status."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(TWIRP_STATUS[code], message, code)


class Fields:
    """The fields of a message."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {_UPPER.sub(r"_\1", name).lower(): value for name, value in values.items()}

    @classmethod
    def of(cls, request: Request) -> Fields:
        """Those of a request's body. Raises HttpError."""
        try:
            value = msgspec.json.decode(request.body.read() or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise HttpError(400, "the body is not JSON", "malformed") from None
        if not isinstance(value, dict):
            raise HttpError(400, "the body is not a JSON object", "malformed")
        return cls(value)

    def text(self, name: str) -> str:
        """A text; empty when there is none."""
        value = self._plain(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise HttpError(400, f"{name}: expected a string", "invalid_argument")
        return value

    def number(self, name: str) -> int | None:
        """A number that may be written as text; None when there is none."""
        value = self._plain(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
            return value
        raise HttpError(400, f"{name}: expected a number", "invalid_argument")

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise HttpError(400, f"{name}: expected a list of strings", "invalid_argument")
        return value

    def time(self, name: str) -> float:
        """A point in time, in seconds since the epoch; 0 when there is none."""
        value = self.text(name)
        if not value:
            return 0.0
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise HttpError(400, f"{name}: expected a time", "invalid_argument") from None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

    def _plain(self, name: str) -> Any:
        value = self._values.get(name)
        return value.get("value") if isinstance(value, dict) else value


def timestamp(seconds: float) -> str:
    """A point in time as protobuf writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def json_response(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(
        status=status,
        headers={"Content-Type": "application/json; charset=utf-8"},
        body=msgspec.json.encode(value),
    )
