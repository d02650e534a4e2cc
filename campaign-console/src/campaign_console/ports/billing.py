"""Billing: a scheduled campaign is a billable event. Off unless STRIPE_SECRET_KEY is set."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlencode

from campaign_console.ports.http import post

_URL = "https://api.stripe.com/v1/billing/meter_events"


class Billing(Protocol):
    """Told about what costs money."""

    async def campaign_scheduled(self, *, campaign_id: int, revision: int) -> None:
        """Telling it twice about the same revision is one event. Raises ProviderError."""
        ...


class NoBilling:
    """What is used when no key is set."""

    async def campaign_scheduled(self, *, campaign_id: int, revision: int) -> None:
        return None


class StripeBilling:
    """Stripe's meter events; the identifier makes a repeated call harmless."""

    def __init__(self, *, key: str, url: str = _URL) -> None:
        self._key = key
        self._url = url

    async def campaign_scheduled(self, *, campaign_id: int, revision: int) -> None:
        body = urlencode(
            {
                "event_name": "campaign_scheduled",
                "identifier": f"campaign-{campaign_id}-{revision}",
                "payload[value]": "1",
                "payload[campaign]": str(campaign_id),
            }
        )
        await post(
            self._url, token=self._key, body=body.encode(), content_type="application/x-www-form-urlencoded"
        )


def open_billing(key: str | None) -> Billing:
    return StripeBilling(key=key) if key else NoBilling()
