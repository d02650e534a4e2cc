"""`peter-evans/create-or-update-comment` and `peter-evans/find-comment`. Source: their READMEs and metadata.

Comments go through GitHub's REST API (GITHUB_API_URL) with the token. Without a token, or without a number (a
run on this machine), the text goes into the step's summary instead and a notice says so.
"""

from __future__ import annotations

import re
from typing import Any

from akashic.actions.inputs import declare, items, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.actions.rest import request

BODY_BYTES_MAX = 65_536
PAGES_MAX = 50
_REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")


def _create_or_update(ctx: ActionContext) -> None:
    number, comment = text(ctx, "issue-number"), text(ctx, "comment-id")
    reactions = items(ctx, "reactions")
    body = _body(ctx)
    if not number and not comment:
        raise ActionFailed("Missing either 'issue-number' or 'comment-id'.")
    for value in (number, comment):
        if value and not value.isdigit():
            raise ActionFailed(f"expected a number, got {value!r}")
    if comment and not body and not reactions:
        raise ActionFailed("Missing comment 'body', 'body-path', or 'reactions'.")
    if number and not comment and not body:
        raise ActionFailed("Missing comment 'body' or 'body-path'.")
    unknown = [name for name in reactions if name not in _REACTIONS]
    if unknown:
        raise ActionFailed(f"unknown reactions {', '.join(unknown)}: use {', '.join(_REACTIONS)}")
    token = text(ctx, "token")
    if not token:
        ctx.summary(body + "\n")
        ctx.annotate(
            "notice", "Without a token no comment can be written: its text is in the step's summary."
        )
        return
    base = f"/repos/{text(ctx, 'repository') or ctx.repository}/issues"
    if comment:
        if body and text(ctx, "edit-mode") != "replace":
            old = str(request(ctx, "GET", f"{base}/comments/{comment}", token=token).get("body") or "")
            between = {"newline": "\n", "space": " ", "none": ""}[text(ctx, "append-separator") or "newline"]
            body = old + between + body
        if body:
            request(ctx, "PATCH", f"{base}/comments/{comment}", token=token, body={"body": body})
    else:
        made = request(ctx, "POST", f"{base}/{number}/comments", token=token, body={"body": body})
        comment = str(made.get("id") or "")
    for reaction in reactions:
        request(ctx, "POST", f"{base}/comments/{comment}/reactions", token=token, body={"content": reaction})
    ctx.output("comment-id", comment)


def _body(ctx: ActionContext) -> str:
    body = ctx.inputs.get("body", "")
    path = text(ctx, "body-path") or text(ctx, "body-file")
    if body and path:
        raise ActionFailed("Only one of 'body' or 'body-path' can be set.")
    if path:
        content = ctx.sandbox.read(f"{ctx.sandbox.workspace}/{path}", bytes_max=BODY_BYTES_MAX)
        if content is None:
            raise ActionFailed(f"File '{path}' does not exist.")
        body = content.decode("utf-8", "replace")
    return body[:BODY_BYTES_MAX]


def _find(ctx: ActionContext) -> None:
    token, number = text(ctx, "token"), text(ctx, "issue-number")
    if not number.isdigit():
        raise ActionFailed(f"'issue-number' must be a number, got {number!r}")
    found: dict[str, Any] = {}
    if token:
        found = _search(
            ctx, f"/repos/{text(ctx, 'repository') or ctx.repository}/issues/{number}/comments", token
        )
    else:
        ctx.annotate("notice", "Without a token no comment can be found.")
    ctx.output("comment-id", str(found.get("id") or ""))
    ctx.output("comment-node-id", str(found.get("node_id") or ""))
    ctx.output("comment-body", str(found.get("body") or ""))
    ctx.output("comment-author", str((found.get("user") or {}).get("login") or ""))
    ctx.output("comment-created-at", str(found.get("created_at") or ""))


def _search(ctx: ActionContext, path: str, token: str) -> dict[str, Any]:
    matching: list[dict[str, Any]] = []
    for page in range(1, PAGES_MAX + 1):
        listing = request(ctx, "GET", f"{path}?per_page=100&page={page}", token=token)
        comments = listing if isinstance(listing, list) else []
        matching += [comment for comment in comments if _fits(ctx, comment)]
        if len(comments) < 100:
            break
    if text(ctx, "direction") == "last":
        matching.reverse()
    nth = text(ctx, "nth") or "0"
    return matching[int(nth)] if nth.isdigit() and int(nth) < len(matching) else {}


def _fits(ctx: ActionContext, comment: dict[str, Any]) -> bool:
    author, words, pattern = text(ctx, "comment-author"), text(ctx, "body-includes"), text(ctx, "body-regex")
    body = str(comment.get("body") or "")
    slashed = re.fullmatch(r"/(.+)/([a-z]*)", pattern)
    try:
        fits = not pattern or re.search(slashed[1] if slashed else pattern, body)
    except re.error as error:
        raise ActionFailed(f"'body-regex' is no regular expression: {error}") from error
    login = (comment.get("user") or {}).get("login")
    return bool(fits) and (not author or login == author) and words in body


_WHERE = (
    ActionInput(name="token", default="${{ github.token }}"),
    ActionInput(name="repository", default="${{ github.repository }}"),
)
CREATE_OR_UPDATE = Builtin(
    name="peter-evans/create-or-update-comment",
    inputs=(
        *_WHERE,
        *declare("issue-number", "comment-id", "body", "body-path", "reactions"),
        ActionInput(name="body-file", deprecated="Use body-path instead."),
        *declare(edit_mode="append", append_separator="newline"),
        ActionInput(
            name="reactions-edit-mode",
            default="append",
            refused="reactions are only added",
            allowed=("", "append"),
        ),
    ),
    outputs=("comment-id",),
    main=_create_or_update,
)
FIND = Builtin(
    name="peter-evans/find-comment",
    inputs=(
        *_WHERE,
        ActionInput(name="issue-number", required=True),
        *declare("comment-author", "body-includes", "body-regex"),
        *declare(direction="first", nth="0"),
    ),
    outputs=("comment-id", "comment-node-id", "comment-body", "comment-author", "comment-created-at"),
    main=_find,
)
