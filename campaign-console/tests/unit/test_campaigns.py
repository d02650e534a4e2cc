from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from campaign_console.campaigns import Campaign, InvalidCampaign, check_draft, check_schedule

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
GOOD = {"name": "  Spring   launch ", "channel": "email", "budget": "1,250.5"}


def test_a_draft_is_cleaned() -> None:
    draft = check_draft(GOOD | {"message": " hello\nworld \0"})
    assert (draft.name, draft.budget_cents, draft.message) == ("Spring launch", 125_050, "hello\nworld")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "x" * 121),
        ("name", ["a", "list"]),
        ("channel", "pigeon"),
        ("audience", "x" * 501),
        ("message", "x" * 5_001),
        ("budget", "-1"),
        ("budget", "1.234"),
        ("budget", "1.-1"),
        ("budget", "1e9"),
        ("budget", "100000000.01"),
        ("budget", "²"),
        ("budget", "9" * 5_000),
    ],
)
def test_each_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidCampaign) as caught:
        check_draft(GOOD | {field: value})
    assert set(caught.value.problems) == {field}


@pytest.mark.parametrize(
    ("text", "cents"), [("", 0), ("0", 0), ("7", 700), ("7.5", 750), ("100000000", 10_000_000_000)]
)
def test_amounts_are_read_exactly(text: str, cents: int) -> None:
    assert check_draft(GOOD | {"budget": text}).budget_cents == cents


def test_times_without_a_zone_are_utc_and_others_are_converted() -> None:
    starts_at, ends_at = check_schedule(
        {"starts_at": "2026-12-01T08:00", "ends_at": "2026-12-02T08:00+02:00"}, now=NOW
    )
    assert starts_at == datetime(2026, 12, 1, 8, tzinfo=UTC)
    assert ends_at == datetime(2026, 12, 2, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "starts_at"),
        ({"starts_at": "tomorrow"}, "starts_at"),
        ({"starts_at": "2026-10-01T08:00"}, "starts_at"),
        ({"starts_at": "0001-01-01T00:00+14:00"}, "starts_at"),
        ({"starts_at": "2026-12-02T08:00", "ends_at": "2026-12-02T08:00"}, "ends_at"),
        ({"starts_at": "2026-12-02T08:00", "ends_at": "never"}, "ends_at"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(fields: dict[str, str], wrong: str) -> None:
    with pytest.raises(InvalidCampaign) as caught:
        check_schedule(fields, now=NOW)
    assert set(caught.value.problems) == {wrong}


@pytest.mark.parametrize(
    ("status", "start", "end", "phase"),
    [
        ("draft", None, None, "draft"),
        ("scheduled", 1, 2, "scheduled"),
        ("scheduled", -1, 2, "running"),
        ("scheduled", -1, None, "running"),
        ("scheduled", -2, -1, "finished"),
        ("archived", -1, 2, "archived"),
    ],
)
def test_phases_follow_the_clock(status: str, start: int | None, end: int | None, phase: str) -> None:
    def day(offset: int | None) -> datetime | None:
        return None if offset is None else NOW + timedelta(days=offset)

    campaign = Campaign(
        id=1,
        name="n",
        channel="email",
        audience="",
        message="",
        budget_cents=0,
        status=status,
        starts_at=day(start),
        ends_at=day(end),
        revision=1,
        owner="o",
        owner_email="o@example.com",
        created_at=NOW,
        updated_at=NOW,
    )
    assert campaign.phase(NOW) == phase
