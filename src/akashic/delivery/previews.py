"""Previews: an environment for each branch, from a template, until its branch or its time is over."""

from __future__ import annotations

import msgspec

from akashic.delivery.releases import Release
from akashic.delivery.service import Deployments, Origin
from akashic.engine.deployment import EnvironmentState
from akashic.engine.deployment_events import AnyDeploymentEvent, EnvironmentRemoved
from akashic.errors import AkashicError, UsageError

SECONDS_PER_HOUR = 3600.0


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A preview that is there. Times are seconds since the epoch; `expires_at` is 0 when it never does."""

    name: str
    branch: str
    version: str
    url: str
    deployed_at: float
    expires_at: float
    busy: bool


class Previews:
    """The previews of one repository."""

    def __init__(self, deployments: Deployments) -> None:
        self.deployments = deployments
        self.config = deployments.config

    def any_template(self) -> bool:
        """Whether there can be previews at all: cheap to ask."""
        return any(environment.preview is not None for environment in self.config.environments.values())

    def name_of(self, environment: str, release: Release, origin: Origin) -> str:
        """Where a deployment to `environment` goes: for a template the preview of the branch that asks, or
        that the release was built from. Raises UsageError when there is no branch."""
        name, found = self.config.find(environment)
        if found is None or found.preview is None or "/" in name:
            return name
        branch = self.deployments.ref_for(release, origin)
        preview, _ = self.config.find(f"{name}/{branch}")
        if not branch or preview == name:
            raise UsageError(f"{name} has an environment for each branch", hint=f"name it: {name}/BRANCH")
        return preview

    def all(self) -> list[Preview]:
        """Those that are there, the newest last."""
        found: list[Preview] = []
        for name in self.deployments.known():
            _, config = self.config.find(name)
            state = self.deployments.state(name)
            if "/" not in name or config is None or config.preview is None or not state.deployments:
                continue
            last = next(reversed(state.deployments.values()))
            shown = state.serving() or last
            at = last.ended_at or last.requested_at
            ttl_s = config.preview.ttl_hours * SECONDS_PER_HOUR
            found.append(
                Preview(
                    name=name,
                    branch=last.request.ref,
                    version=shown.request.release.version,
                    url=shown.url or config.url,
                    deployed_at=at,
                    expires_at=at + ttl_s if ttl_s else 0.0,
                    busy=bool(state.open()),
                )
            )
        return sorted(found, key=lambda preview: preview.deployed_at)

    def find(self, word: str) -> str:
        """The preview that a name, a branch or a slug means. Raises UsageError when there is none."""
        previews = self.all()
        names = {preview.name.casefold() for preview in previews}
        templates = [n for n, e in self.config.environments.items() if e.preview is not None]
        for candidate in (word, *(f"{template}/{word}" for template in templates)):
            name, _ = self.config.find(candidate)
            if name.casefold() in names:
                return name
        known = ", ".join(preview.name for preview in previews) or "there is none"
        raise UsageError(f"there is no preview {word!r}", hint=f"previews: {known}")

    def remove(self, name: str, *, by: str, reason: str) -> None:
        """Stop a preview and remove its data. Raises UsageError while a deployment to it is under way."""

        def gone(state: EnvironmentState) -> AnyDeploymentEvent | None:
            if state.removed_at or not state.deployments:
                return None
            if state.open():
                raise UsageError(
                    f"a deployment to {name} is under way", hint="wait for its end, or cancel it"
                )
            last = next(reversed(state.deployments.values()))
            return EnvironmentRemoved(deployment=last.id, by=by, reason=reason)

        gone(self.deployments.state(name))
        # First the thing, then the word: killed in between, the next sweep does both again.
        self.deployments.remove(name)
        self.deployments.driver.append(name, gone)

    def sweep(self, *, by: str) -> list[str]:
        """Remove those whose time is over; their names. One that cannot be removed now stays for the next
        sweep."""
        if not self.any_template():
            return []
        now = self.deployments.clock.now()
        removed: list[str] = []
        for preview in self.all():
            if preview.busy or not preview.expires_at or preview.expires_at > now:
                continue
            try:
                self.remove(preview.name, by=by, reason="its time to live is over")
            except AkashicError:
                continue
            removed.append(preview.name)
        return removed
