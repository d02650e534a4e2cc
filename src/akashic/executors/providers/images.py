"""What a service image's name says: `docker.io/library/postgres:16-alpine` is `postgres`, `16-alpine`."""

from __future__ import annotations

import msgspec

_OFFICIAL = ("docker.io/library/", "docker.io/", "index.docker.io/library/", "registry-1.docker.io/library/",
             "public.ecr.aws/docker/library/", "mirror.gcr.io/library/", "library/")  # fmt: skip


class ImageName(msgspec.Struct, frozen=True, kw_only=True):
    """An image's name without registry when it is an official one (else as written), and its tag."""

    name: str
    tag: str = ""


def parse_image(image: str) -> ImageName:
    name = image.strip().partition("@")[0]
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    name = head + slash + last
    for prefix in _OFFICIAL:
        if name.startswith(prefix):
            name = name[len(prefix) :]
            break
    return ImageName(name=name, tag=tag)


def major_version(tag: str) -> str:
    """`16` of `16.3-alpine`; empty when the tag names no version (`latest`, `alpine`)."""
    digits = ""
    for character in tag:
        if not character.isdigit():
            break
        digits += character
    return digits
