"""Event payloads made up from git, and the job-independent part of the `github` context. Pure.

Sources: GitHub's "Webhook events and payloads" and "Contexts reference" (`github` context).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from akashic.app.repository import Repository
from akashic.errors import UsageError

SERVER_URL = "https://github.com"
API_URL = "https://api.github.com"
GRAPHQL_URL = "https://api.github.com/graphql"

ABOUT_PULL_REQUESTS = (
    "pull_request",
    "pull_request_target",
    "pull_request_review",
    "pull_request_review_comment",
)
"""Events whose payload holds the pull request."""


def build_payload(
    event_name: str, repository: Repository, actor: str, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """The payload that GitHub would send for this event about the current commit, as far as git knows it."""
    common: dict[str, Any] = {
        "repository": _repository(repository),
        "sender": _user(actor),
    }
    if event_name == "push":
        return _push(repository, actor) | common
    if event_name in ABOUT_PULL_REQUESTS:
        return _pull_request(repository, actor) | common
    if event_name == "workflow_dispatch":
        return {"inputs": dict(inputs), "ref": repository.ref, "workflow": ""} | common
    if event_name == "release":
        return _release(repository, actor) | common
    if event_name == "schedule":
        return {"schedule": ""} | common
    if event_name == "repository_dispatch":
        return {"action": "", "branch": repository.default_branch, "client_payload": {}} | common
    return common


_COMPLETED = ("repository", "pull_request", "release")
"""Objects of a payload that are completed key by key."""
_SIDES = ("head", "base")


def complete_payload(made: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The payload that the user gave, with what it leaves out taken from the made-up one: payloads written by
    hand are often a few lines. Raises UsageError where an object is something else."""
    merged = {**made, **given}
    for name in _COMPLETED:
        if name in given and name in made:
            merged[name] = {**made[name], **_object(given, name, f"`{name}`")}
    own = given.get("pull_request")
    if own is not None and "pull_request" in made:
        for side in _SIDES:
            if side in own:
                place = f"`pull_request.{side}`"
                merged["pull_request"][side] = {**made["pull_request"][side], **_object(own, side, place)}
    if isinstance(own, Mapping) and "number" in own and "number" not in given:
        merged["number"] = own["number"]
    return merged


def _object(value: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    found = value[key]
    if not isinstance(found, Mapping):
        raise UsageError(
            f"the event payload's {place} must be an object",
            hint="GitHub's webhook reference shows its shape",
        )
    return found


def _user(login: str) -> dict[str, Any]:
    return {"login": login, "id": 0, "type": "User", "html_url": f"{SERVER_URL}/{login}"}


def _repository(repository: Repository) -> dict[str, Any]:
    url = f"{SERVER_URL}/{repository.name}"
    return {
        "id": 0,
        "name": repository.name.split("/", 1)[1],
        "full_name": repository.name,
        "owner": _user(repository.owner) | {"name": repository.owner},
        "private": True,
        "html_url": url,
        "clone_url": f"{url}.git",
        "default_branch": repository.default_branch,
        "master_branch": repository.default_branch,
        "fork": False,
        "visibility": "private",
    }


def _commit(repository: Repository) -> dict[str, Any]:
    person = {"name": repository.author, "email": repository.author_email, "username": repository.author}
    return {
        "id": repository.commit,
        "message": repository.message,
        "timestamp": repository.committed_at,
        "url": f"{SERVER_URL}/{repository.name}/commit/{repository.commit}",
        "author": person,
        "committer": person,
        "distinct": True,
    }


def _push(repository: Repository, actor: str) -> dict[str, Any]:
    commit = _commit(repository)
    return {
        "ref": repository.ref,
        "before": repository.parent,
        "after": repository.commit,
        "created": False,
        "deleted": False,
        "forced": False,
        "base_ref": None,
        "compare": f"{SERVER_URL}/{repository.name}/compare/{repository.parent}...{repository.commit}",
        "commits": [commit],
        "head_commit": commit,
        "pusher": {"name": actor, "email": repository.author_email},
    }


def _pull_request(repository: Repository, actor: str) -> dict[str, Any]:
    head = repository.branch or repository.default_branch
    side = {"user": _user(repository.owner), "repo": _repository(repository)}
    return {
        "action": "opened",
        "number": 1,
        "pull_request": {
            "number": 1,
            "state": "open",
            "draft": False,
            "merged": False,
            "title": repository.message.split("\n", 1)[0],
            "body": None,
            "html_url": f"{SERVER_URL}/{repository.name}/pull/1",
            "user": _user(actor),
            "labels": [],
            "head": side | {"ref": head, "sha": repository.commit, "label": f"{repository.owner}:{head}"},
            "base": side
            | {
                "ref": repository.default_branch,
                "sha": repository.parent,
                "label": f"{repository.owner}:{repository.default_branch}",
            },
        },
    }


def _release(repository: Repository, actor: str) -> dict[str, Any]:
    tag = repository.tag or "v0.0.0"
    return {
        "action": "published",
        "release": {
            "id": 1,
            "tag_name": tag,
            "target_commitish": repository.default_branch,
            "name": tag,
            "draft": False,
            "prerelease": False,
            "body": "",
            "html_url": f"{SERVER_URL}/{repository.name}/releases/tag/{tag}",
            "author": _user(actor),
        },
    }


def event_ref(event_name: str, payload: Mapping[str, Any], repository: Repository) -> str:
    """`github.ref` for an event, by GitHub's "Events that trigger workflows" (column GITHUB_REF)."""
    if event_name in ("push", "workflow_dispatch") and isinstance(payload.get("ref"), str):
        ref = str(payload["ref"])
        return ref if ref.startswith("refs/") else f"refs/heads/{ref}"
    if event_name == "pull_request_target":
        return f"refs/heads/{repository.default_branch}"
    if event_name == "pull_request" and value_at(payload, "pull_request", "merged") is True:
        return f"refs/heads/{value_at(payload, 'pull_request', 'base', 'ref') or repository.default_branch}"
    if event_name in ABOUT_PULL_REQUESTS:
        number = payload.get("number") or value_at(payload, "pull_request", "number") or 1
        return f"refs/pull/{number}/merge"
    tag = value_at(payload, "release", "tag_name")
    if event_name == "release" and tag:
        return f"refs/tags/{tag}"
    return repository.ref


def value_at(value: Any, *path: str) -> Any:
    """What stands at a path of keys in nested objects; None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def is_from_fork(event_name: str, payload: Mapping[str, Any]) -> bool:
    """Whether a pull request comes from another repository: its run is given nothing worth stealing. What
    does not say where it comes from (a deleted fork has no `repo`) counts as one."""
    if event_name not in ABOUT_PULL_REQUESTS:
        return False
    head = value_at(payload, "pull_request", "head", "repo", "full_name")
    base = value_at(payload, "pull_request", "base", "repo", "full_name")
    return not isinstance(head, str) or not isinstance(base, str) or head.casefold() != base.casefold()


def github_context(
    *,
    event_name: str,
    payload: Mapping[str, Any],
    repository: Repository,
    actor: str,
    run_id: str,
    run_number: int,
    workflow_name: str,
    workflow_path: str,
) -> dict[str, Any]:
    """The part of the `github` context that is the same for every job of a run."""
    ref = event_ref(event_name, payload, repository)
    pull_request = event_name in ("pull_request", "pull_request_target")
    ref_name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/").removeprefix("refs/pull/")
    return {
        "repository": repository.name,
        "repository_owner": repository.owner,
        "repository_id": str(value_at(payload, "repository", "id") or 0),
        "repository_owner_id": str(value_at(payload, "repository", "owner", "id") or 0),
        "repositoryUrl": f"git://github.com/{repository.name}.git",
        "repository_visibility": "private",
        "ref": ref,
        "ref_name": ref_name,
        "ref_type": "tag" if ref.startswith("refs/tags/") else "branch",
        "ref_protected": False,
        "sha": repository.commit,
        "event_name": event_name,
        "event": dict(payload),
        "actor": actor,
        "actor_id": "0",
        "triggering_actor": actor,
        "workflow": workflow_name,
        "workflow_ref": f"{repository.name}/{workflow_path}@{ref}",
        "workflow_sha": repository.commit,
        "run_id": run_id,
        "run_number": str(run_number),
        "run_attempt": "1",
        "retention_days": "90",
        "secret_source": "Actions",
        "head_ref": str(value_at(payload, "pull_request", "head", "ref") or "") if pull_request else "",
        "base_ref": str(value_at(payload, "pull_request", "base", "ref") or "") if pull_request else "",
        "server_url": SERVER_URL,
        "api_url": API_URL,
        "graphql_url": GRAPHQL_URL,
    }
