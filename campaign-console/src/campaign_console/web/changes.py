"""What pages and API do alike: change a campaign, then tell those who want to know."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from campaign_console import media
from campaign_console.accounts import Account
from campaign_console.campaigns import Asset, Campaign, InvalidCampaign, check_draft, check_schedule
from campaign_console.services import Services


async def create(services: Services, account: Account, fields: Mapping[str, Any]) -> Campaign:
    """Raises InvalidCampaign."""
    campaign = await services.campaigns.create(check_draft(fields), account_id=account.id)
    services.metrics.count("campaign_created")
    return campaign


async def edit(services: Services, account: Account, campaign_id: int, fields: Mapping[str, Any]) -> Campaign:
    """Raises InvalidCampaign, NotFound, Conflict."""
    draft = check_draft(fields)
    text = str(fields.get("revision", ""))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidCampaign({"revision": "Name the revision that this change is based on."})
    return await services.campaigns.edit(campaign_id, draft, revision=int(text), account_id=account.id)


async def schedule(
    services: Services, account: Account, campaign_id: int, fields: Mapping[str, Any]
) -> Campaign:
    """Schedules, then mails the owner and reports the billable event in the background.

    Raises InvalidCampaign, NotFound, Conflict.
    """
    starts_at, ends_at = check_schedule(fields, now=datetime.now(UTC))
    campaign = await services.campaigns.schedule(campaign_id, starts_at, ends_at, account_id=account.id)
    services.metrics.count("campaign_scheduled")
    text = (
        f"{account.name} scheduled “{campaign.name}” for {starts_at:%A, %d %B %Y, %H:%M} UTC.\n\n"
        f"{services.settings.public_url}/campaigns/{campaign.id}\n"
    )
    services.in_background(
        services.mail.send(campaign.owner_email, f"Scheduled: {campaign.name}", text), what="mail"
    )
    services.in_background(
        services.billing.campaign_scheduled(campaign_id=campaign.id, revision=campaign.revision),
        what="billing",
    )
    return campaign


async def archive(services: Services, account: Account, campaign_id: int) -> Campaign:
    """Raises NotFound."""
    campaign = await services.campaigns.archive(campaign_id, account_id=account.id)
    services.metrics.count("campaign_archived")
    return campaign


async def upload(services: Services, account: Account, campaign_id: int, *, name: str, data: bytes) -> Asset:
    """Keep the bytes, then the row; bytes without a row are removed again.

    Raises InvalidCampaign, NotFound, Conflict, StorageError.
    """
    if not data:
        raise InvalidCampaign({"file": "Choose a file first."})
    if len(data) > media.SIZE_BYTES_MAX:
        raise InvalidCampaign({"file": f"A file has at most {media.SIZE_BYTES_MAX // 1024 // 1024} MB."})
    found = media.media_type(data)
    if found is None:
        raise InvalidCampaign({"file": "Only PNG, JPEG, GIF, WebP and PDF files are taken."})
    kind, ending = found
    key = f"campaigns/{campaign_id}/{secrets.token_hex(16)}{ending}"
    await services.campaigns.get(campaign_id)
    await services.storage.put(key, data, kind)
    try:
        asset = await services.campaigns.add_asset(
            campaign_id,
            name=media.safe_name(name, ending),
            media_type=kind,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            storage_key=key,
            account_id=account.id,
        )
    except BaseException:
        await services.storage.delete(key)
        raise
    services.metrics.count("asset_uploaded")
    return asset
