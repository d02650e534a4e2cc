"""The JSON API. Errors look alike: `{"error": {"message": …, "fields": {…}}}`.

A change needs the session's cookie and its token in `X-CSRF-Token`; `GET /api/auth/session` tells the token.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from campaign_console.campaigns import (
    PAGE_SIZE,
    STATUSES,
    Activity,
    Asset,
    Campaign,
    InvalidCampaign,
)
from campaign_console.web import changes
from campaign_console.web.security import (
    Visitor,
    check_origin,
    cookie_name,
    delete_cookie,
    editor,
    services_of,
    set_cookie,
    sign_in,
    visitor,
    visitor_or_none,
)

PAGE_MAX = 10_000


async def session(request: Request) -> Response:
    """GET: 200 with `{"session": null}` for a stranger, else who is signed in and the token for changes."""
    found = await visitor_or_none(request)
    return JSONResponse({"session": _session_json(found) if found else None})


async def create_session(request: Request) -> Response:
    """POST `{"email", "password"}`: 201 with the session, 422 for a wrong pair, 429 after too many tries."""
    check_origin(request)
    body = await _json(request)
    services = services_of(request)
    account, begun = await sign_in(
        request, email=str(body.get("email", "")), password=str(body.get("password", ""))
    )
    found = Visitor(account=account, session=begun, csrf_token=services.sessions.csrf_token(begun.token))
    response = JSONResponse({"session": _session_json(found)}, status_code=201)
    return set_cookie(response, services, "session", begun.token)


async def end_session(request: Request) -> Response:
    """DELETE: 204, whether there was a session or not."""
    check_origin(request)
    services = services_of(request)
    token = request.cookies.get(cookie_name(services, "session"))
    if token:
        await services.sessions.end(token[:128])
    return delete_cookie(Response(status_code=204), services, "session")


async def list_campaigns(request: Request) -> Response:
    """GET `?status=&search=&page=`: newest change first, twenty a page; archived ones only when asked for."""
    await visitor(request)
    status = request.query_params.get("status") or None
    if status is not None and status not in STATUSES:
        raise InvalidCampaign({"status": f"Expected one of {', '.join(STATUSES)}."})
    page = page_number(request)
    found, total = await services_of(request).campaigns.page(
        status=status, search=request.query_params.get("search", "")[:100], page=page
    )
    return JSONResponse(
        {
            "campaigns": [campaign_json(campaign) for campaign in found],
            "page": page,
            "pages": max(1, -(-total // PAGE_SIZE)),
            "total": total,
        }
    )


async def create_campaign(request: Request) -> Response:
    found = await editor(request, csrf_token=_token(request))
    campaign = await changes.create(services_of(request), found.account, await _json(request))
    return JSONResponse(
        campaign_json(campaign), status_code=201, headers={"Location": f"/api/campaigns/{campaign.id}"}
    )


async def get_campaign(request: Request) -> Response:
    await visitor(request)
    return JSONResponse(campaign_json(await services_of(request).campaigns.get(request.path_params["id"])))


async def edit_campaign(request: Request) -> Response:
    """PUT all fields and the `revision` that they are based on; 409 when it is no longer the latest."""
    found = await editor(request, csrf_token=_token(request))
    campaign = await changes.edit(
        services_of(request), found.account, request.path_params["id"], await _json(request)
    )
    return JSONResponse(campaign_json(campaign))


async def schedule_campaign(request: Request) -> Response:
    """POST `{"starts_at", "ends_at"}` in ISO 8601; a time without a zone is UTC."""
    found = await editor(request, csrf_token=_token(request))
    campaign = await changes.schedule(
        services_of(request), found.account, request.path_params["id"], await _json(request)
    )
    return JSONResponse(campaign_json(campaign))


async def archive_campaign(request: Request) -> Response:
    found = await editor(request, csrf_token=_token(request))
    campaign = await changes.archive(services_of(request), found.account, request.path_params["id"])
    return JSONResponse(campaign_json(campaign))


async def list_activity(request: Request) -> Response:
    await visitor(request)
    entries = await services_of(request).campaigns.activity(request.path_params["id"])
    return JSONResponse({"activity": [_activity_json(entry) for entry in entries]})


async def list_assets(request: Request) -> Response:
    await visitor(request)
    services = services_of(request)
    await services.campaigns.get(request.path_params["id"])
    return JSONResponse(
        {
            "assets": [
                _asset_json(asset) for asset in await services.campaigns.assets(request.path_params["id"])
            ]
        }
    )


async def upload_asset(request: Request) -> Response:
    """POST the file itself as the body, its name as `?name=`."""
    found = await editor(request, csrf_token=_token(request))
    asset = await changes.upload(
        services_of(request),
        found.account,
        request.path_params["id"],
        name=request.query_params.get("name", "asset"),
        data=await request.body(),
    )
    return JSONResponse(_asset_json(asset), status_code=201)


def page_number(request: Request) -> int:
    """`?page=`: a number from 1; whatever else is given means the first page."""
    text = request.query_params.get("page", "1")
    return min(max(1, int(text)), PAGE_MAX) if text.isascii() and text.isdigit() and len(text) < 8 else 1


def campaign_json(campaign: Campaign) -> dict[str, Any]:
    return {
        "id": campaign.id,
        "name": campaign.name,
        "channel": campaign.channel,
        "audience": campaign.audience,
        "message": campaign.message,
        "budget": f"{campaign.budget_cents // 100}.{campaign.budget_cents % 100:02d}",
        "status": campaign.status,
        "starts_at": _iso(campaign.starts_at),
        "ends_at": _iso(campaign.ends_at),
        "revision": campaign.revision,
        "owner": campaign.owner,
        "created_at": _iso(campaign.created_at),
        "updated_at": _iso(campaign.updated_at),
    }


def error_json(message: str, fields: dict[str, str] | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "fields": fields or {}}}


def _session_json(found: Visitor) -> dict[str, Any]:
    account = found.account
    return {
        "account": {"id": account.id, "email": account.email, "name": account.name, "role": account.role},
        "csrf_token": found.csrf_token,
    }


def _activity_json(entry: Activity) -> dict[str, Any]:
    return {"action": entry.action, "detail": entry.detail, "who": entry.who, "at": _iso(entry.at)}


def _asset_json(asset: Asset) -> dict[str, Any]:
    return {
        "id": asset.id,
        "name": asset.name,
        "media_type": asset.media_type,
        "size_bytes": asset.size_bytes,
        "sha256": asset.sha256,
        "created_at": _iso(asset.created_at),
        "url": f"/campaigns/{asset.campaign_id}/assets/{asset.id}",
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _token(request: Request) -> str:
    return request.headers.get("x-csrf-token", "")


async def _json(request: Request) -> dict[str, Any]:
    """The body as an object. A form of another site can send text, but not this content type unasked."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise InvalidCampaign({"body": "Send JSON, with Content-Type: application/json."})
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise InvalidCampaign({"body": "This is not JSON."}) from None
    if not isinstance(body, dict):
        raise InvalidCampaign({"body": "Expected a JSON object."})
    return body
