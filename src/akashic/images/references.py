"""How images are called: references, tags, and the tags that a branch or pull request gives."""

from __future__ import annotations

import re

import msgspec

from akashic.errors import UsageError

TAG_LENGTH_MAX = 128
SHORT_SHA_LENGTH = 7

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """An image's address: `registry/name:tag@digest`; registry, tag and digest may be empty."""

    name: str
    registry: str = ""
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        text = f"{self.registry}/{self.name}" if self.registry else self.name
        text += f":{self.tag}" if self.tag else ""
        return text + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Read an address as the distribution specification writes it. Raises UsageError saying what is wrong."""
    rest, _, digest = text.partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise UsageError(f"{text!r}: expected sha256: and 64 hexadecimal digits after '@'")
    head, slash, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    rest = head + slash + last
    if tag:
        check_tag(tag)
    registry, slash, name = rest.partition("/")
    if not slash or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, name = "", rest
    if registry and not _DOMAIN.fullmatch(registry):
        raise UsageError(f"{text!r}: {registry!r} is not a registry's host and port")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{text!r}: {name!r} is not an image's name",
            hint="lower-case letters, digits, '.', '_' and '-', parts separated by '/'",
        )
    return Reference(name=name, registry=registry, tag=tag, digest=digest)


def check_tag(tag: str) -> str:
    """The tag itself. Raises UsageError when it is none."""
    if not _TAG.fullmatch(tag):
        raise UsageError(
            f"{tag[:200]!r} is not a tag",
            hint=f"letters, digits, '_', '.' and '-', not first '.' or '-', at most {TAG_LENGTH_MAX}",
        )
    return tag


def tag_of(text: str) -> str:
    """A branch's or any other name as a tag: what may not stand in one becomes `-`."""
    tag = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".-")[:TAG_LENGTH_MAX]
    if not tag:
        raise UsageError(f"{text!r} holds nothing that a tag could be made of")
    return tag


def tags_for(
    ref: str, commit: str, *, default_branch: str = "main", pull_request: int | None = None
) -> tuple[str, ...]:
    """The tags of a build of `ref` (`refs/heads/…`, `refs/tags/…`, `refs/pull/N/merge`, or a branch's name).

    A branch gives its name and `<branch>-<sha>`, the default branch `latest` besides; a pull request `pr-N`;
    a git tag its name.
    """
    short = commit[:SHORT_SHA_LENGTH]
    merge = re.fullmatch(r"refs/pull/([0-9]+)/(?:merge|head)", ref)
    number = pull_request if pull_request is not None else int(merge[1]) if merge else None
    if number is not None:
        return (f"pr-{number}",)
    if ref.startswith("refs/tags/"):
        return (tag_of(ref.removeprefix("refs/tags/")),)
    branch = ref.removeprefix("refs/heads/")
    if not branch or branch == "HEAD":
        return (f"sha-{short}",)
    name = tag_of(branch)
    tags = [name, f"{name[: TAG_LENGTH_MAX - len(short) - 1]}-{short}"]
    if branch == default_branch:
        tags.append("latest")
    return tuple(tags)


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """A tag, and the registry and name that it is given in; `name` is empty for a tag alone."""

    tag: str
    name: str = ""


def parse_destination(text: str) -> Destination:
    """Read `main`, or `registry.example.com/team/app:main` (what has a `/` or `:` is an address; a name
    without a tag means `latest`). Raises UsageError."""
    if "/" not in text and ":" not in text:
        return Destination(tag=check_tag(text))
    found = parse_reference(text)
    if found.digest:
        raise UsageError(f"{text!r}: expected a tag, not a digest")
    name = f"{found.registry}/{found.name}" if found.registry else found.name
    return Destination(tag=found.tag or "latest", name=name)
