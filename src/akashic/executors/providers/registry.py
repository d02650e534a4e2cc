"""Which provider stands for which service image."""

from __future__ import annotations

from akashic.executors.protocol import Unsupported
from akashic.executors.providers.images import parse_image
from akashic.executors.providers.postgres import PostgresProvider
from akashic.executors.providers.protocol import Provider
from akashic.executors.providers.redis import RedisProvider

PROVIDERS: tuple[Provider, ...] = (PostgresProvider(), RedisProvider())


def native_services() -> tuple[str, ...]:
    """The names of images that this machine can serve without containers."""
    return tuple(name for provider in PROVIDERS for name in provider.images)


def find_provider(image: str) -> Provider:
    """The provider for an image such as `docker.io/library/postgres:16-alpine`. Raises Unsupported."""
    name = parse_image(image).name
    for provider in PROVIDERS:
        if name in provider.images:
            reason = provider.unavailable()
            if reason:
                raise Unsupported(
                    f"the service image {image} cannot be served on this machine: {reason}",
                    hint="or use an executor that runs containers: docker, kubernetes",
                )
            return provider
    known = ", ".join(native_services())
    raise Unsupported(
        f"the host executor has no native server for the image {image} (it has: {known})",
        hint="executors that run any service image: docker, kubernetes",
    )
