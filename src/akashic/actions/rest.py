"""One call of GitHub's REST API, for built-in actions that must make one."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from akashic.actions.protocol import ActionContext, ActionFailed

TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 16 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token along to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def request(
    ctx: ActionContext, method: str, path: str, *, token: str, body: dict[str, Any] | None = None
) -> Any:
    """The decoded answer of `method` `path` (which begins with `/`). Raises ActionFailed."""
    base = (ctx.env.get("GITHUB_API_URL") or "https://api.github.com").rstrip("/")
    if not base.startswith(("https://", "http://")):
        raise ActionFailed(f"GITHUB_API_URL is no web address: {base!r}")
    call = urllib.request.Request(
        base + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "User-Agent": "akashic",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(call, timeout=TIMEOUT_S) as answer:
            content = answer.read(ANSWER_BYTES_MAX)
        return json.loads(content) if content else {}
    except urllib.error.HTTPError as error:
        said = error.read(4096).decode("utf-8", "replace")
        raise ActionFailed(f"{method} {path}: the API answered {error.code}: {said}") from error
    except (OSError, ValueError) as error:
        raise ActionFailed(
            f"{method} {path}: {base} could not be reached: {error}", hint="Commenting needs a network."
        ) from error
