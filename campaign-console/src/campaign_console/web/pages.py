"""The pages. Every change is a form that is answered with a redirect, so that reloading repeats nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from campaign_console import media
from campaign_console.campaigns import (
    CHANNELS,
    PAGE_SIZE,
    STATUSES,
    Campaign,
    Conflict,
    InvalidCampaign,
)
from campaign_console.ports.http import ProviderError
from campaign_console.web import changes
from campaign_console.web.api import page_number
from campaign_console.web.rendering import render
from campaign_console.web.security import (
    Refused,
    Visitor,
    anonymous_token,
    check_anonymous,
    delete_cookie,
    editor,
    services_of,
    set_cookie,
    sign_in,
    visitor,
    visitor_or_none,
)

_FIELDS = ("name", "channel", "audience", "message", "budget", "revision")

NOTICES = {
    "created": "The campaign has been created.",
    "saved": "Your changes have been saved.",
    "scheduled": "The campaign has been scheduled.",
    "archived": "The campaign has been archived.",
    "uploaded": "The file has been added.",
}


async def home(request: Request) -> Response:
    return RedirectResponse("/campaigns", status_code=303)


async def sign_in_form(request: Request) -> Response:
    if await visitor_or_none(request):
        return RedirectResponse("/campaigns", status_code=303)
    return _sign_in_page(request)


async def sign_in_submit(request: Request) -> Response:
    form = await _form(request)
    check_anonymous(request, _text(form, "csrf_token"))
    email = _text(form, "email")
    try:
        _, session = await sign_in(request, email=email, password=_text(form, "password"))
    except Refused as refused:
        return _sign_in_page(request, email=email, refused=refused)
    services = services_of(request)
    response = RedirectResponse("/campaigns", status_code=303)
    return delete_cookie(set_cookie(response, services, "session", session.token), services, "visit")


async def sign_out(request: Request) -> Response:
    form = await _form(request)
    services = services_of(request)
    found = await visitor_or_none(request)
    if found is not None:
        if not services.sessions.csrf_valid(found.session.token, _text(form, "csrf_token")):
            raise Refused(403, "This form has expired. Load the page again, then sign out.")
        await services.sessions.end(found.session.token)
    response = RedirectResponse("/sign-in", status_code=303)
    return delete_cookie(response, services, "session")


async def list_campaigns(request: Request) -> Response:
    found = await visitor(request)
    services = services_of(request)
    status = request.query_params.get("status") or None
    if status not in STATUSES:
        status = None
    search = request.query_params.get("search", "").strip()[:100]
    page = page_number(request)
    campaigns, total = await services.campaigns.page(status=status, search=search, page=page)
    return render(
        request,
        "campaigns.html",
        visitor=found,
        campaigns=campaigns,
        counts=await services.campaigns.counts(),
        status_shown=status,
        search=search,
        page=page,
        pages=max(1, -(-total // PAGE_SIZE)),
        total=total,
        link=lambda number: (
            "/campaigns?" + urlencode({"status": status or "", "search": search, "page": number})
        ),
    )


async def new_campaign(request: Request) -> Response:
    found = await visitor(request)
    if not found.account.can_edit:
        raise Refused(403, "You may look at campaigns, but not change them.")
    return _edit_page(request, found, fields={"channel": "email"})


async def create_campaign(request: Request) -> Response:
    form = await _form(request)
    found = await editor(request, csrf_token=_text(form, "csrf_token"))
    services = services_of(request)
    if "suggest" in form:
        return await _suggest(request, found, form)
    try:
        campaign = await changes.create(services, found.account, form)
    except InvalidCampaign as invalid:
        return _edit_page(request, found, fields=form, problems=invalid.problems)
    return _back_to(campaign.id, "created")


async def show_campaign(request: Request) -> Response:
    found = await visitor(request)
    return await _campaign_page(request, found)


async def edit_form(request: Request) -> Response:
    found = await visitor(request)
    if not found.account.can_edit:
        raise Refused(403, "You may look at campaigns, but not change them.")
    campaign = await services_of(request).campaigns.get(request.path_params["id"])
    if campaign.status == "archived":
        raise Conflict("An archived campaign cannot be edited.")
    return _edit_page(request, found, campaign=campaign, fields=_fields_of(campaign))


async def edit_campaign(request: Request) -> Response:
    form = await _form(request)
    found = await editor(request, csrf_token=_text(form, "csrf_token"))
    services = services_of(request)
    campaign = await services.campaigns.get(request.path_params["id"])
    if "suggest" in form:
        return await _suggest(request, found, form, campaign)
    try:
        await changes.edit(services, found.account, campaign.id, form)
    except InvalidCampaign as invalid:
        return _edit_page(request, found, campaign=campaign, fields=form, problems=invalid.problems)
    except Conflict as conflict:
        return _edit_page(request, found, campaign=campaign, fields=form, alert=str(conflict), status=409)
    return _back_to(campaign.id, "saved")


async def schedule_campaign(request: Request) -> Response:
    form = await _form(request)
    found = await editor(request, csrf_token=_text(form, "csrf_token"))
    try:
        campaign = await changes.schedule(
            services_of(request), found.account, request.path_params["id"], form
        )
    except InvalidCampaign as invalid:
        return await _campaign_page(request, found, fields=form, problems=invalid.problems, status=422)
    return _back_to(campaign.id, "scheduled")


async def archive_campaign(request: Request) -> Response:
    form = await _form(request)
    found = await editor(request, csrf_token=_text(form, "csrf_token"))
    campaign = await changes.archive(services_of(request), found.account, request.path_params["id"])
    return _back_to(campaign.id, "archived")


async def upload_asset(request: Request) -> Response:
    form = await _form(request, files_max=1)
    file = form.get("file")
    name, data = "", b""
    if isinstance(file, UploadFile):
        name, data = file.filename or "", await file.read(media.SIZE_BYTES_MAX + 1)
    await form.close()
    found = await editor(request, csrf_token=_text(form, "csrf_token"))
    try:
        await changes.upload(
            services_of(request), found.account, request.path_params["id"], name=name, data=data
        )
    except InvalidCampaign as invalid:
        return await _campaign_page(request, found, problems=invalid.problems, status=422)
    return _back_to(request.path_params["id"], "uploaded")


async def download_asset(request: Request) -> Response:
    await visitor(request)
    services = services_of(request)
    asset = await services.campaigns.asset(request.path_params["id"], request.path_params["asset_id"])
    data = await services.storage.get(asset.storage_key)
    # Pictures may be shown in our own pages; nothing of a file may run as a page of its own.
    shown = asset.media_type.startswith("image/")
    name = asset.name.encode("ascii", "replace").decode().replace("?", "-")
    return Response(
        data,
        media_type=asset.media_type,
        headers={
            "Content-Disposition": f'{"inline" if shown else "attachment"}; filename="{name}"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, max-age=3600",
        },
    )


def _sign_in_page(request: Request, *, email: str = "", refused: Refused | None = None) -> Response:
    value, token = anonymous_token(request)
    response = render(
        request,
        "sign_in.html",
        status=refused.status if refused else 200,
        visitor=None,
        csrf_token=token,
        email=email[:320],
        alert=refused.message if refused else None,
    )
    if refused and refused.retry_after_s:
        response.headers["Retry-After"] = str(refused.retry_after_s)
    return set_cookie(response, services_of(request), "visit", value)


def _edit_page(
    request: Request,
    found: Visitor,
    *,
    fields: Mapping[str, Any],
    campaign: Campaign | None = None,
    problems: Mapping[str, str] | None = None,
    alert: str | None = None,
    status: int | None = None,
) -> Response:
    return render(
        request,
        "edit.html",
        status=status or (422 if problems else 200),
        visitor=found,
        campaign=campaign,
        fields={name: fields.get(name, "") for name in _FIELDS},
        problems=problems or {},
        alert=alert,
        channels=CHANNELS,
        suggestions=services_of(request).suggestions.available,
    )


async def _campaign_page(
    request: Request,
    found: Visitor,
    *,
    fields: Mapping[str, Any] | None = None,
    problems: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    services = services_of(request)
    campaign = await services.campaigns.get(request.path_params["id"])
    planned = {"starts_at": _local(campaign.starts_at), "ends_at": _local(campaign.ends_at)}
    return render(
        request,
        "campaign.html",
        status=status,
        visitor=found,
        campaign=campaign,
        activity=await services.campaigns.activity(campaign.id),
        assets=await services.campaigns.assets(campaign.id),
        fields={name: fields.get(name, "") for name in planned} if fields else planned,
        problems=problems or {},
        notice=NOTICES.get(request.query_params.get("notice", "")),
    )


async def _suggest(
    request: Request, found: Visitor, form: FormData, campaign: Campaign | None = None
) -> Response:
    fields = {name: _text(form, name) for name in _FIELDS}
    alert = None
    try:
        fields["message"] = await services_of(request).suggestions.message(
            name=fields["name"][:200], channel=fields["channel"][:20], audience=fields["audience"][:500]
        )
    except ProviderError:
        alert = "No suggestion could be had just now. Your text is as it was."
    return _edit_page(request, found, campaign=campaign, fields=fields, alert=alert)


def _fields_of(campaign: Campaign) -> dict[str, Any]:
    return {
        "name": campaign.name,
        "channel": campaign.channel,
        "audience": campaign.audience,
        "message": campaign.message,
        "budget": f"{campaign.budget_cents // 100}.{campaign.budget_cents % 100:02d}",
        "revision": campaign.revision,
    }


def _local(moment: datetime | None) -> str:
    """As a browser's datetime-local field wants it, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") if moment else ""


def _back_to(campaign_id: int, notice: str) -> Response:
    return RedirectResponse(f"/campaigns/{campaign_id}?notice={notice}", status_code=303)


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


async def _form(request: Request, *, files_max: int = 0) -> FormData:
    return await request.form(max_files=files_max, max_fields=20, max_part_size=64 * 1024)
