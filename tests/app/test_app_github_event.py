"""Payloads and the `github` context, by GitHub's documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.app.github_event import (
    ABOUT_PULL_REQUESTS,
    build_payload,
    complete_payload,
    event_ref,
    github_context,
    is_from_fork,
)
from akashic.app.repository import Repository
from akashic.errors import UsageError

HERE = Repository(
    root=Path("/w"),
    top=Path("/w"),
    prefix="",
    name="acme/shop",
    commit="c" * 40,
    parent="b" * 40,
    branch="topic",
    tag="",
    dirty=False,
    default_branch="main",
    author="Ada",
    author_email="ada@example.org",
    committed_at="2026-01-02T03:04:05+00:00",
    message="Say hello\n\nbody",
    remote_url="",
)
EVENTS = (
    "push",
    *ABOUT_PULL_REQUESTS,
    "workflow_dispatch",
    "release",
    "schedule",
    "repository_dispatch",
    "issues",
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
payloads = st.dictionaries(
    st.sampled_from(["ref", "action", "number", "repository", "pull_request", "release", "inputs", "x"]),
    json_values
    | st.dictionaries(
        st.sampled_from(["head", "base", "repo", "ref", "number", "tag_name", "owner", "id"]),
        json_values | st.dictionaries(st.sampled_from(["ref", "repo", "full_name"]), json_values, max_size=2),
        max_size=3,
    ),
    max_size=4,
)


def context_of(event_name: str, given_payload: dict[str, Any] | None = None) -> dict[str, Any]:
    payload = complete_payload(build_payload(event_name, HERE, "grace", {}), given_payload or {})
    return github_context(
        event_name=event_name,
        payload=payload,
        repository=HERE,
        actor="grace",
        run_id="1",
        run_number=7,
        workflow_name="ci",
        workflow_path=".github/workflows/ci.yml",
    )


@pytest.mark.parametrize(
    ("event_name", "ref", "ref_name", "head_ref", "base_ref"),
    [
        ("push", "refs/heads/topic", "topic", "", ""),
        ("pull_request", "refs/pull/1/merge", "1/merge", "topic", "main"),
        ("pull_request_target", "refs/heads/main", "main", "topic", "main"),
        ("pull_request_review", "refs/pull/1/merge", "1/merge", "", ""),
        ("workflow_dispatch", "refs/heads/topic", "topic", "", ""),
        ("release", "refs/tags/v0.0.0", "v0.0.0", "", ""),
        ("schedule", "refs/heads/topic", "topic", "", ""),
    ],
)
def test_refs_of_events(event_name: str, ref: str, ref_name: str, head_ref: str, base_ref: str) -> None:
    context = context_of(event_name)
    assert (context["ref"], context["ref_name"]) == (ref, ref_name)
    assert (context["head_ref"], context["base_ref"]) == (head_ref, base_ref)
    assert context["ref_type"] == ("tag" if event_name == "release" else "branch")
    assert context["sha"] == HERE.commit
    assert context["workflow_ref"] == f"acme/shop/.github/workflows/ci.yml@{ref}"
    assert (context["actor"], context["triggering_actor"], context["run_number"]) == ("grace", "grace", "7")


def test_a_push_payload_is_as_github_sends_it() -> None:
    payload = build_payload("push", HERE, "grace", {})
    assert (payload["ref"], payload["before"], payload["after"]) == ("refs/heads/topic", "b" * 40, "c" * 40)
    assert payload["head_commit"]["message"] == "Say hello\n\nbody"
    assert payload["head_commit"]["author"] == {"name": "Ada", "email": "ada@example.org", "username": "Ada"}
    assert payload["pusher"]["name"] == payload["sender"]["login"] == "grace"
    assert payload["repository"]["full_name"] == "acme/shop"
    assert payload["repository"]["owner"]["login"] == "acme"


def test_a_pull_request_goes_from_the_branch_to_the_default_branch() -> None:
    pull_request = build_payload("pull_request", HERE, "grace", {})["pull_request"]
    assert (pull_request["head"]["ref"], pull_request["base"]["ref"]) == ("topic", "main")
    assert pull_request["title"] == "Say hello"
    assert pull_request["head"]["repo"]["full_name"] == pull_request["base"]["repo"]["full_name"]


def test_what_a_given_payload_leaves_out_is_made_up() -> None:
    made = build_payload("pull_request", HERE, "grace", {})
    payload = complete_payload(
        made, {"pull_request": {"number": 12, "head": {"ref": "theirs"}}, "repository": {"private": False}}
    )
    assert payload["pull_request"]["head"]["ref"] == "theirs"
    assert payload["pull_request"]["head"]["sha"] == HERE.commit
    assert payload["pull_request"]["base"]["ref"] == "main"
    assert payload["repository"]["private"] is False
    assert payload["repository"]["full_name"] == "acme/shop"
    assert event_ref("pull_request", payload, HERE) == "refs/pull/12/merge"
    assert made["pull_request"]["head"]["ref"] == "topic"


@pytest.mark.parametrize("ref", ["refs/heads/other", "other"])
def test_a_given_ref_is_a_full_one(ref: str) -> None:
    assert context_of("push", {"ref": ref})["ref"] == "refs/heads/other"
    assert context_of("workflow_dispatch", {"ref": ref})["ref"] == "refs/heads/other"


def test_a_pushed_tag() -> None:
    context = context_of("push", {"ref": "refs/tags/v2"})
    assert (context["ref_type"], context["ref_name"]) == ("tag", "v2")


@pytest.mark.parametrize(
    "given_payload",
    [{"repository": "acme/shop"}, {"pull_request": 3}, {"pull_request": {"head": "topic"}}],
)
def test_a_payload_of_the_wrong_shape_is_refused(given_payload: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be an object"):
        context_of("pull_request", given_payload)


@given(st.sampled_from(EVENTS), payloads)
def test_any_payload_gives_a_context_or_our_error(event_name: str, given_payload: dict[str, Any]) -> None:
    try:
        context = context_of(event_name, given_payload)
    except UsageError:
        return
    assert context["ref"].startswith("refs/")
    for name, value in context.items():
        assert name in ("event", "ref_protected") or isinstance(value, str), name


@given(st.sampled_from(EVENTS), payloads)
def test_what_was_given_always_wins(event_name: str, given_payload: dict[str, Any]) -> None:
    made = build_payload(event_name, HERE, "grace", {})
    try:
        merged = complete_payload(made, given_payload)
    except UsageError:
        return
    for name, value in given_payload.items():
        if isinstance(value, dict):
            assert merged[name].keys() >= value.keys()
        else:
            assert merged[name] == value
    assert merged.keys() >= made.keys()


@pytest.mark.parametrize("event_name", ABOUT_PULL_REQUESTS)
@pytest.mark.parametrize(
    ("repo", "fork"),
    [
        ({"full_name": "mallory/shop"}, True),
        ({"full_name": "ACME/Shop"}, False),
        ({"full_name": "acme/shop", "fork": True}, False),
        (None, True),
        ({"full_name": ["acme/shop"]}, True),
        ({}, True),
    ],
)
def test_forks_are_known_by_their_repository(event_name: str, repo: Any, fork: bool) -> None:
    made = build_payload(event_name, HERE, "grace", {})
    payload = complete_payload(made, {"pull_request": {"head": {"repo": repo}}})
    assert is_from_fork(event_name, payload) is fork


@pytest.mark.parametrize("event_name", EVENTS)
def test_what_is_made_up_is_never_from_a_fork(event_name: str) -> None:
    assert not is_from_fork(event_name, build_payload(event_name, HERE, "grace", {}))
