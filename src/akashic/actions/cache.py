"""`actions/cache`, `actions/cache/restore` and `actions/cache/save`. Source: their README and metadata.

Files of the workspace, of the job's home, temporary and tool folders and of `/tmp` can be cached; another
absolute path is refused, because restoring it would write outside of the job.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from akashic.actions.inputs import boolean, declare, lines, text
from akashic.actions.paths import Pattern, find, parse
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.executors.protocol import Unsupported
from akashic.journal.archive import ArchiveRefused, Member
from akashic.journal.beneath import open_beneath
from akashic.journal.caches import CacheEntry, CacheError, cache_version, check_keys


def restore_cache(
    ctx: ActionContext,
    paths: Sequence[str],
    key: str,
    restore_keys: Sequence[str],
    *,
    lookup_only: bool = False,
) -> CacheEntry | None:
    """Find a cache and put its files in place; None when there is none. A cache that is damaged, or that
    vanished in between, is a warning and counts as none. Also used by the set-up actions."""
    patterns = _patterns(ctx, paths)
    places = _allowed(ctx, patterns)
    version = cache_version(paths, os_name=ctx.sandbox.os)
    try:
        check_keys([key, *restore_keys])
    except CacheError as error:
        raise ActionFailed(error.message) from error
    try:
        entry = ctx.caches.find(key, restore_keys, version, ctx.cache_scopes)
        if entry is None or lookup_only:
            return entry
        with ExitStack() as stack:
            used = {place[0] for place in places}
            folders = {
                name: stack.enter_context(open_beneath(ctx.sandbox.host_path(path), (), create=False))
                for name, path in _folders(ctx).items()
                if name in used
            }
            ctx.caches.restore(entry, folders, allow=places)
    except ArchiveRefused as error:
        raise ActionFailed(f"the cache {key!r} was not restored: {error.message}") from error
    except CacheError as error:
        ctx.annotate("warning", f"Failed to restore: {error.message}")
        return None
    return entry


def save_cache(ctx: ActionContext, paths: Sequence[str], key: str) -> bool:
    """Keep what the paths name; False (with a warning) when nothing was saved. Never fails a step."""
    patterns = _patterns(ctx, paths)
    _allowed(ctx, patterns)
    version = cache_version(paths, os_name=ctx.sandbox.os)
    if ctx.cache_scopes.write is None:
        ctx.annotate("warning", f"The cache {key!r} was not saved: this run may read caches, not write them.")
        return False
    try:
        members = list(_members(ctx, patterns))
        if not members:
            raise CacheError(
                "Path Validation Error: Path(s) specified in the action for caching do(es) not exist,"
                " hence no cache is being saved."
            )
        entry = ctx.caches.save(key, version, ctx.cache_scopes, members)
    except (CacheError, ArchiveRefused, OSError) as error:
        ctx.annotate("warning", str(error))
        return False
    if entry is None:
        ctx.log(f"Unable to reserve cache with key {key}, another job may be creating this cache.")
        return False
    ctx.log(f"Cache saved with key: {key} ({entry.files} files, {entry.size} bytes)")
    return True


def _folders(ctx: ActionContext) -> Mapping[str, str]:
    """Names of entries in a cache begin with these; the folders differ from job to job."""
    box = ctx.sandbox
    return {
        "workspace": box.workspace,
        "temp": box.temp,
        "tools": box.tool_cache,
        "home": box.home,
        "tmp": "/tmp",
    }


def _patterns(ctx: ActionContext, paths: Sequence[str]) -> list[Pattern]:
    if not paths:
        raise ActionFailed("Input required and not supplied: path")
    return parse(paths, workspace=ctx.sandbox.workspace, home=ctx.sandbox.home)


def _place(ctx: ActionContext, path: str) -> tuple[str, ...] | None:
    """Where a path lies: the name of one of the job's folders, then the parts below it. The longest wins."""
    for name, folder in sorted(_folders(ctx).items(), key=lambda item: len(item[1]), reverse=True):
        if path == folder or path.startswith(folder.rstrip("/") + "/"):
            return (name, *(part for part in path[len(folder) :].split("/") if part))
    return None


def _allowed(ctx: ActionContext, patterns: Sequence[Pattern]) -> list[tuple[str, ...]]:
    places = []
    for pattern in patterns:
        if pattern.negated:
            continue
        place = _place(ctx, pattern.base)
        if place is None:
            raise ActionFailed(
                f"cannot cache {pattern.text}: it is outside of the workspace, the home folder and /tmp",
                hint="Install into the workspace or below ~ and cache that; see docs/compatibility.md.",
            )
        _reachable(ctx, pattern)
        places.append(place)
    return places


def _reachable(ctx: ActionContext, pattern: Pattern) -> None:
    try:
        ctx.sandbox.host_path(pattern.base)
    except Unsupported as error:
        raise ActionFailed(
            f"cannot cache {pattern.text}: it lies inside of the container",
            hint="Install into the workspace or below ~ and cache that; see docs/compatibility.md.",
        ) from error


def _members(ctx: ActionContext, patterns: Sequence[Pattern]) -> Iterator[Member]:
    for found in find(ctx, patterns, hidden=True, follow=False):
        place = _place(ctx, found.path)
        if place is None or any("\\" in part for part in place):
            continue
        kept = stat.S_ISREG(found.mode) or stat.S_ISDIR(found.mode) or stat.S_ISLNK(found.mode)
        if kept and len(place) > 1:
            yield Member(name="/".join(place), path=ctx.sandbox.host_path(found.path))


def _restore(ctx: ActionContext) -> CacheEntry | None:
    key = text(ctx, "key")
    paths = lines(ctx, "path")
    boolean(ctx, "enablecrossosarchive")
    lookup = boolean(ctx, "lookup-only")
    entry = restore_cache(ctx, paths, key, lines(ctx, "restore-keys"), lookup_only=lookup)
    ctx.output("cache-primary-key", key)
    if entry is None:
        if boolean(ctx, "fail-on-cache-miss"):
            raise ActionFailed(
                f"Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: {key}"
            )
        ctx.log(f"Cache not found for input keys: {', '.join([key, *lines(ctx, 'restore-keys')])}")
        return None
    # GitHub compares without case.
    hit = entry.key.casefold() == key.casefold()
    ctx.output("cache-hit", "true" if hit else "false")
    ctx.output("cache-matched-key", entry.key)
    ctx.log(f"Cache {'found and can be restored' if lookup else 'restored'} from key: {entry.key}")
    return entry


def _main(ctx: ActionContext) -> None:
    ctx.save_state("key", text(ctx, "key"))
    entry = _restore(ctx)
    ctx.save_state("matched", entry.key if entry else "")


def _restore_only(ctx: ActionContext) -> None:
    _restore(ctx)


def _post(ctx: ActionContext) -> None:
    key = ctx.state.get("key", "")
    if not key:
        ctx.annotate("warning", "Key is not specified: the cache was not saved.")
    elif ctx.state.get("matched", "").casefold() == key.casefold():
        ctx.log(f"Cache hit occurred on the primary key {key}, not saving cache.")
    else:
        save_cache(ctx, lines(ctx, "path"), key)


def _save_only(ctx: ActionContext) -> None:
    save_cache(ctx, lines(ctx, "path"), text(ctx, "key"))


_COMMON = (
    ActionInput(name="path", required=True),
    ActionInput(name="key", required=True),
    ActionInput(name="enableCrossOsArchive", default="false"),
)
_RESTORING = (
    ActionInput(name="restore-keys"),
    *declare(fail_on_cache_miss="false", lookup_only="false"),
)
_UPLOAD = ActionInput(name="upload-chunk-size")

CACHE = Builtin(
    name="actions/cache",
    inputs=(
        *_COMMON,
        *_RESTORING,
        _UPLOAD,
        ActionInput(
            name="save-always",
            default="false",
            deprecated="save-always does not work as intended; use actions/cache/save with if: always().",
        ),
    ),
    outputs=("cache-hit", "cache-primary-key", "cache-matched-key"),
    main=_main,
    post=_post,
    post_if="success()",
)
RESTORE = Builtin(
    name="actions/cache/restore",
    inputs=(*_COMMON, *_RESTORING),
    outputs=("cache-hit", "cache-primary-key", "cache-matched-key"),
    main=_restore_only,
)
SAVE = Builtin(name="actions/cache/save", inputs=(*_COMMON, _UPLOAD), main=_save_only)
