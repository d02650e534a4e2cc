"""One small JSON request to a provider, with a time limit, off the event loop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

_TIMEOUT_S = 15
_ANSWER_BYTES_MAX = 1_000_000


class ProviderError(Exception):
    """A provider could not be reached, refused, or answered something else than expected."""


async def post(url: str, *, token: str, body: bytes, content_type: str) -> Any:
    """The JSON that the provider answers. Raises ProviderError, which never carries the token."""
    return await asyncio.to_thread(_post, url, token, body, content_type)


def _post(url: str, token: str, body: bytes, content_type: str) -> Any:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        url, data=body, headers={"Authorization": f"Bearer {token}", "Content-Type": content_type}
    )
    if not url.startswith(("https://", "http://127.0.0.1:")):
        raise ProviderError("a provider is only spoken to over HTTPS")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # nosec B310: scheme checked above
            return json.loads(answer.read(_ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        raise ProviderError(f"the provider answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise ProviderError(f"the provider did not answer: {type(error).__name__}") from None
