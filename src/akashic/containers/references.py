"""What an image's name means: which registry, which repository, which tag.

Source: Docker's reference grammar ("distribution/reference"): without a registry it is Docker Hub, there
without a slash `library/`, without a tag `latest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from akashic.errors import UsageError

HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"
"""Under this name Docker's settings keep the credentials of Docker Hub."""
REFERENCE_LENGTH_MAX = 1024

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ImageName:
    """A full name: nothing is left to a default. `digest` wins over `tag` where both are."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}"
        return f"{name}@{self.digest}" if self.digest else f"{name}:{self.tag}"

    @property
    def familiar(self) -> str:
        """As people write it: without what is the default."""
        name = self.repository.removeprefix("library/") if self.registry == HUB else self.repository
        name = name if self.registry == HUB else f"{self.registry}/{name}"
        return f"{name}@{self.digest}" if self.digest else f"{name}:{self.tag}"


def parse_image_name(text: str) -> ImageName:
    """Read a name as `docker pull` does. Raises UsageError saying what is wrong."""
    if not text or len(text) > REFERENCE_LENGTH_MAX:
        raise UsageError(
            f"{text[:80]!r} is not an image's name: expected 1 to {REFERENCE_LENGTH_MAX} characters"
        )
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise UsageError(f"image {text!r}: expected a digest such as sha256:… after '@'")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise UsageError(f"image {text!r}: {tag!r} is not a tag")
    registry, slash, repository = f"{head}{slash}{last}".partition("/")
    if not slash or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, repository = HUB, f"{head}/{last}" if head else last
    elif registry in ("index.docker.io", "registry-1.docker.io"):
        registry = HUB
    if registry == HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not _REGISTRY.fullmatch(registry):
        raise UsageError(f"image {text!r}: {registry!r} is not a registry's host and port")
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(
            f"image {text!r}: {repository!r} is not an image's name",
            hint="lower-case letters, digits, '.', '_' and '-', parts separated by '/'",
        )
    return ImageName(registry, repository, "" if at and not colon else tag or "latest", digest)


def is_image_id(text: str) -> bool:
    """Whether it names an image by the digest of its configuration: such a one is never pulled."""
    return bool(_ID.fullmatch(text))
