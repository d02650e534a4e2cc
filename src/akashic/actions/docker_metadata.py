"""`docker/metadata-action`: tags and labels of an image. Source: its README (versions 4 to 6)."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from akashic.actions.inputs import items, lines, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin

_PRIORITY = {
    "schedule": 1000, "semver": 900, "pep440": 900, "match": 800, "edge": 700, "ref": 600, "raw": 200,
    "sha": 100,
}  # fmt: skip
_DEFAULT_RULES = ("type=schedule", "type=ref,event=branch", "type=ref,event=tag", "type=ref,event=pr")
_SEMVER = re.compile(r"[v=\s]*(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?")
_DATE_WORDS = {
    "YYYY": "%Y", "YY": "%y", "MM": "%m", "DD": "%d", "HH": "%H", "mm": "%M", "ss": "%S", "X": "%s",
    "ddd": "%a",
    "MMM": "%b", "Z": "%z",
}  # fmt: skip


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `tags`: its type and its attributes as written."""

    type: str
    attributes: dict[str, str]

    @property
    def priority(self) -> int:
        given = self.attributes.get("priority", "")
        return int(given) if given.lstrip("-").isdigit() else _PRIORITY[self.type]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What the tags are made from. `now` is seconds since the epoch."""

    event: str
    ref: str
    sha: str
    default_branch: str
    base_ref: str = ""
    now: float


def parse_rules(written: list[str]) -> list[Rule]:
    """The lines of `tags`, highest priority first. Raises ActionFailed."""
    rules = []
    for line in written or list(_DEFAULT_RULES):
        if line.startswith("#"):
            continue
        attributes = _attributes(line)
        kind = attributes.pop("type", "")
        if not kind and "" in attributes:
            kind, attributes["value"] = "raw", attributes.pop("")
        if kind not in _PRIORITY:
            raise ActionFailed(f"Unknown tag type attribute: {kind or line!r}")
        if kind == "ref" and attributes.get("event") not in ("branch", "tag", "pr"):
            raise ActionFailed(f"Invalid event for {line}: expected event=branch, event=tag or event=pr")
        if kind in ("semver", "pep440", "match") and not attributes.get("pattern"):
            raise ActionFailed(f"Missing pattern attribute for {line}")
        if kind == "raw" and "value" not in attributes:
            raise ActionFailed(f"Missing value attribute for {line}")
        rules.append(Rule(type=kind, attributes=attributes))
    return sorted(rules, key=lambda rule: rule.priority, reverse=True)


def _attributes(line: str) -> dict[str, str]:
    """`key=value` fields with commas between; a field in double quotes keeps its commas."""
    found: dict[str, str] = {}
    for field in re.findall(r'(?:"(?:[^"]|"")*"|\{\{.*?\}\}|[^,"])+', line):
        field = re.sub(r'^"|"$', "", field.strip()).replace('""', '"')
        key, equals, value = field.partition("=")
        if equals:
            found[key.strip().lower()] = value.strip()
        else:
            found[""] = field
    return found


class _Versions:
    """Collects the tags: the first is the main version; `latest` is decided on the way."""

    def __init__(self, flavor: Mapping[str, str]) -> None:
        self.main = ""
        self.partial: list[str] = []
        self.latest = flavor["latest"] == "true"
        self._auto = flavor["latest"] == "auto"

    def add(self, tag: str, *, latest: bool) -> None:
        if not self.main:
            self.main = tag
            if self._auto:
                self.latest = latest
        elif tag != self.main and tag not in self.partial:
            self.partial.append(tag)


def make_tags(rules: list[Rule], flavor: Mapping[str, str], subject: Subject) -> tuple[str, list[str]]:
    """The main version and all tags without an image's name, in order; `flavor` as `parse_flavor` says."""
    versions = _Versions(flavor)
    for rule in rules:
        if _enabled(rule, subject):
            for name, makes_latest in _values(rule, subject):
                tag = _tag(rule, flavor, name, subject)
                if tag:
                    versions.add(tag, latest=makes_latest)
    tags = [versions.main, *versions.partial] if versions.main else []
    if versions.latest and versions.main:
        prefix = flavor["prefix"] if flavor["prefix-latest"] == "true" else ""
        suffix = flavor["suffix"] if flavor["suffix-latest"] == "true" else ""
        latest = f"{prefix}latest{suffix}"
        tags += [latest] if latest not in tags else []
    return versions.main, tags


def _enabled(rule: Rule, subject: Subject) -> bool:
    value = _expressions(rule.attributes.get("enable", "true"), subject)
    if value not in ("true", "false"):
        raise ActionFailed(f"Invalid value for enable attribute: {value}")
    return value == "true"


def _values(rule: Rule, subject: Subject) -> list[tuple[str, bool]]:
    """The tags of a rule before prefix and suffix, each with whether it makes `latest` by itself."""
    attributes = rule.attributes
    tag = subject.ref.removeprefix("refs/tags/") if subject.ref.startswith("refs/tags/") else ""
    match rule.type:
        case "schedule":
            pattern = attributes.get("pattern", "nightly")
            return [(pattern, False)] if subject.event == "schedule" else []
        case "semver" | "pep440":
            return _semver(attributes["pattern"], attributes.get("value") or tag, given="value" in attributes)
        case "match":
            return _match(attributes, attributes.get("value") or tag)
        case "edge":
            branch = attributes.get("branch") or subject.default_branch
            return [("edge", False)] if branch and subject.ref == f"refs/heads/{branch}" else []
        case "ref":
            return _ref(attributes["event"], subject, tag)
        case "raw":
            return [(attributes["value"], False)]
        case _:
            length = len(subject.sha) if attributes.get("format") == "long" else 7
            return [(subject.sha[:length], False)] if subject.sha else []


def _semver(pattern: str, value: str, *, given: bool) -> list[tuple[str, bool]]:
    match = _SEMVER.fullmatch(value)
    if not match:
        return []
    major, minor, patch, pre, _ = match.groups()
    version = f"{major}.{minor}.{patch}" + (f"-{pre}" if pre else "")
    if pre and "raw" not in pattern and pattern != "{{version}}":
        # A pre-release must not move `1.2`: only the whole version is a tag.
        return [(version, False)]
    words = {"raw": value, "version": version, "major": major, "minor": minor, "patch": patch}
    made = re.sub(r"\{\{\s*(raw|version|major|minor|patch)\s*\}\}", lambda m: words[m[1]], pattern)
    return [(made, not pre)]


def _match(attributes: Mapping[str, str], value: str) -> list[tuple[str, bool]]:
    if not value:
        return []
    pattern = attributes["pattern"]
    slashed = re.fullmatch(r"/(.+)/([gimsuy]*)", pattern)
    try:
        found = re.search(slashed[1] if slashed else pattern, value)
        group = attributes.get("group", "0")
        return (
            [(found.group(int(group)), True)] if found and group.isdigit() and found.group(int(group)) else []
        )
    except (re.error, IndexError) as error:
        raise ActionFailed(f"type=match,pattern={pattern}: {error}") from error


def _ref(event: str, subject: Subject, tag: str) -> list[tuple[str, bool]]:
    if event == "branch" and subject.ref.startswith("refs/heads/"):
        return [(subject.ref.removeprefix("refs/heads/"), False)]
    if event == "tag" and tag:
        return [(tag, True)]
    pull = re.fullmatch(r"refs/pull/(\d+)/(?:merge|head)", subject.ref)
    return [(f"pr-{pull[1]}", False)] if event == "pr" and pull else []


def _tag(rule: Rule, flavor: Mapping[str, str], name: str, subject: Subject) -> str:
    """With prefix and suffix, expressions replaced, and everything that no tag may hold made a dash."""
    prefix = rule.attributes.get("prefix", "sha-" if rule.type == "sha" else None)
    suffix = rule.attributes.get("suffix")
    if rule.type == "ref" and rule.attributes["event"] == "pr" and prefix is not None:
        name = name.removeprefix("pr-")
    prefix = flavor["prefix"] if prefix is None else prefix
    suffix = flavor["suffix"] if suffix is None else suffix
    made = _expressions(prefix + name + suffix, subject)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", made)[:128]


def _expressions(value: str, subject: Subject) -> str:
    branch = subject.ref.removeprefix("refs/heads/") if subject.ref.startswith("refs/heads/") else ""
    tag = subject.ref.removeprefix("refs/tags/") if subject.ref.startswith("refs/tags/") else ""
    words = {
        "branch": branch, "tag": tag, "sha": subject.sha[:7], "base_ref": subject.base_ref,
        "is_default_branch": "true" if branch and branch == subject.default_branch else "false",
        "is_not_default_branch": "true" if branch and branch != subject.default_branch else "false",
    }  # fmt: skip

    def replace(match: re.Match[str]) -> str:
        name, argument = match[1], match[2]
        if name == "date":
            return _date(argument or "", match[3], subject.now)
        return words.get(name, match[0])

    return re.sub(r"\{\{\s*([a-z_]+)(?:\s+'([^']*)')?(?:\s+tz='([^']*)')?\s*\}\}", replace, value)


def _date(pattern: str, zone: str | None, now: float) -> str:
    where: datetime.tzinfo = datetime.UTC
    if zone:
        from zoneinfo import ZoneInfo

        try:
            where = ZoneInfo(zone)
        except (KeyError, ValueError) as error:
            raise ActionFailed(f"unknown time zone {zone!r}") from error
    at = datetime.datetime.fromtimestamp(now, where)
    return re.sub(
        "YYYY|YY|MMM|MM|DD|HH|mm|ss|ddd|X|Z",
        lambda m: str(int(now)) if m[0] == "X" else at.strftime(_DATE_WORDS[m[0]]),
        pattern,
    )


def parse_flavor(written: list[str]) -> dict[str, str]:
    """`latest` (auto, true, false), `prefix`, `suffix`, and whether they are put to `latest` too."""
    flavor = {
        "latest": "auto",
        "prefix": "",
        "suffix": "",
        "prefix-latest": "false",
        "suffix-latest": "false",
    }
    last = ""
    for line in written:
        for field in line.split(","):
            key, equals, value = (part.strip() for part in field.partition("="))
            if key == "onlatest" and last:
                flavor[f"{last}-latest"] = value
            elif equals and key in ("latest", "prefix", "suffix"):
                flavor[key], last = value, key
            else:
                raise ActionFailed(f"Unknown flavor entry: {line}")
    if flavor["latest"] not in ("auto", "true", "false"):
        raise ActionFailed(f"Invalid latest flavor entry: {flavor['latest']}")
    return flavor


def _image_names(ctx: ActionContext) -> list[str]:
    names = []
    for item in items(ctx, "images"):
        pieces = dict(part.partition("=")[::2] for part in item.split(",") if "=" in part)
        if pieces.get("enable", "true") == "true":
            names.append((pieces.get("name") or item).lower())
    return names


def _main(ctx: ActionContext) -> None:
    subject = _subject(ctx)
    rules = parse_rules(lines(ctx, "tags"))
    version, tags = make_tags(rules, parse_flavor(lines(ctx, "flavor")), subject)
    names = _image_names(ctx)
    full = [f"{name}:{tag}" for name in names for tag in tags] if names else tags
    labels = _labels(ctx, subject, version, lines(ctx, "labels"))
    notes = _labels(ctx, subject, version, lines(ctx, "annotations"))
    between = ctx.inputs.get("sep-tags") or "\n"
    ctx.output("version", version)
    ctx.output("tags", between.join(full))
    ctx.output("tag-names", between.join(tags))
    ctx.output("labels", (ctx.inputs.get("sep-labels") or "\n").join(labels))
    ctx.output(
        "annotations", (ctx.inputs.get("sep-annotations") or "\n").join(f"manifest:{n}" for n in notes)
    )
    as_map = dict(label.split("=", 1) for label in labels)
    ctx.output(
        "json", json.dumps({"tags": full, "labels": as_map, "annotations": [f"manifest:{n}" for n in notes]})
    )
    _bake(ctx, full, as_map, names, version)
    if not tags:
        ctx.annotate("warning", "No Docker tag has been generated. Check tags input.")
    if version:
        ctx.set_env("DOCKER_METADATA_OUTPUT_VERSION", version)
    ctx.log(f"Docker image version: {version}\nDocker tags:\n" + "\n".join(f"  {tag}" for tag in full))


def _subject(ctx: ActionContext) -> Subject:
    event: dict[str, Any] = ctx.github.get("event") or {}
    sha = str(ctx.github.get("sha") or ctx.tree.commit)
    head = event.get("pull_request", {}).get("head", {}).get("sha") if isinstance(event, dict) else None
    if head and ctx.env.get("DOCKER_METADATA_PR_HEAD_SHA") == "true":
        sha = str(head)
    return Subject(
        event=str(ctx.github.get("event_name") or ""),
        ref=str(ctx.github.get("ref") or ""),
        sha=sha,
        default_branch=str((event.get("repository") or {}).get("default_branch") or ""),
        base_ref=str(ctx.github.get("base_ref") or ""),
        now=_commit_time(ctx),
    )


def _commit_time(ctx: ActionContext) -> float:
    """SOURCE_DATE_EPOCH where it is set, so that a rebuilt image has the same labels; else the time now."""
    import time

    given = ctx.env.get("SOURCE_DATE_EPOCH", "")
    return float(given) if given.isdigit() else time.time()


def _labels(ctx: ActionContext, subject: Subject, version: str, more: list[str]) -> list[str]:
    repository = (ctx.github.get("event") or {}).get("repository") or {}
    server = str(ctx.github.get("server_url") or "https://github.com").rstrip("/")
    home = repository.get("html_url") or f"{server}/{ctx.repository}"
    created = datetime.datetime.fromtimestamp(subject.now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    standard = {
        "created": created,
        "description": repository.get("description") or "",
        "licenses": (repository.get("license") or {}).get("spdx_id") or "",
        "revision": subject.sha,
        "source": home,
        "title": repository.get("name") or ctx.repository.rpartition("/")[2],
        "url": home,
        "version": version,
    }
    made = {f"org.opencontainers.image.{key}": str(value) for key, value in standard.items()}
    for line in more:
        key, _, value = line.partition("=")
        made[key.strip()] = _expressions(value, subject)
    return [f"{key}={' '.join(value.split())}" for key, value in sorted(made.items())]


def _bake(
    ctx: ActionContext, tags: list[str], labels: Mapping[str, str], names: list[str], version: str
) -> None:
    target = text(ctx, "bake-target") or "docker-metadata-action"
    arguments = {"DOCKER_META_IMAGES": ",".join(names), "DOCKER_META_VERSION": version}
    parts: dict[str, dict[str, Any]] = {
        "tags": {"tags": tags, "args": arguments},
        "labels": {"labels": labels},
    }
    folder = f"{ctx.sandbox.temp}/docker-metadata-{os.urandom(6).hex()}"
    for name, content in parts.items():
        path = f"{folder}/bake-{name}.json"
        ctx.sandbox.write(path, json.dumps({"target": {target: content}}, indent=2).encode())
        ctx.output(f"bake-file-{name}", path)
    path = f"{folder}/bake.json"
    whole = {"target": {target: parts["tags"] | parts["labels"]}}
    ctx.sandbox.write(path, json.dumps(whole, indent=2).encode())
    ctx.output("bake-file", path)


METADATA = Builtin(
    name="docker/metadata-action",
    inputs=(
        ActionInput(name="context", default="workflow"),
        *(ActionInput(name=name) for name in ("images", "tags", "flavor", "labels", "annotations")),
        *(ActionInput(name=name) for name in ("sep-tags", "sep-labels", "sep-annotations")),
        ActionInput(name="bake-target", default="docker-metadata-action"),
        ActionInput(name="github-token", default="${{ github.token }}"),
    ),
    outputs=(
        "version", "tags", "tag-names", "labels", "annotations", "json", "bake-file", "bake-file-tags",
        "bake-file-labels",
    ),
    main=_main,
)  # fmt: skip
