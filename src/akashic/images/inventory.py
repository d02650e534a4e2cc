"""What is installed in an image: Python distributions, Debian and Alpine packages, by their own databases.

Sources: "Recording installed projects" (PyPA), dpkg's status file (deb-control(5)), apk's installed database.
Layers are read one after another as the engine stacks them; a later layer replaces or removes a file.
"""

from __future__ import annotations

import gzip
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.parser import HeaderParser
from pathlib import Path
from typing import IO, Any, cast

from akashic.images.installed import license_of
from akashic.images.locks import Package, normal_name
from akashic.images.store import ImageError, Layout
from akashic.images.unpack import OPAQUE, WHITEOUT, Limits

METADATA_BYTES_MAX = 1024 * 1024
DATABASE_BYTES_MAX = 64 * 1024 * 1024

_DPKG = "var/lib/dpkg/status"
_DPKG_PARTS = "var/lib/dpkg/status.d/"
"""Where images without dpkg itself ("distroless") keep one file a package."""
_APK = "lib/apk/db/installed"
_RELEASE = ("etc/os-release", "usr/lib/os-release")
_ZSTD = b"\x28\xb5\x2f\xfd"

Reader = Callable[[], bytes]
Visit = Callable[[tarfile.TarInfo, Reader], None]


class Inventory:
    """Gathers packages while layers are walked."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def visit(self, member: tarfile.TarInfo, read: Reader) -> None:
        """Look at one member of a layer; its content is read only when it is needed."""
        path = posixpath.normpath(member.name).lstrip("/")
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            self._remove(folder)
        elif name.startswith(WHITEOUT):
            self._remove(f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
        elif member.isreg() and _is_wanted(path):
            limit = METADATA_BYTES_MAX if path.endswith("METADATA") else DATABASE_BYTES_MAX
            self._files[path] = read() if member.size <= limit else b""

    def _remove(self, path: str) -> None:
        for known in [known for known in self._files if known == path or known.startswith(f"{path}/")]:
            del self._files[known]

    def packages(self) -> list[Package]:
        """What is installed now, by ecosystem and name."""
        ecosystem = self._ecosystem()
        found: list[Package] = []
        for path, content in self._files.items():
            text = content.decode("utf-8", "replace")
            if path.endswith(".dist-info/METADATA"):
                found.extend(_python(text))
            elif path == _DPKG or path.startswith(_DPKG_PARTS):
                found.extend(_debian(text, ecosystem or "Debian"))
            elif path == _APK:
                found.extend(_alpine(text, ecosystem or "Alpine"))
        unique = {(package.ecosystem, package.name, package.version): package for package in found}
        return [unique[key] for key in sorted(unique)]

    def _ecosystem(self) -> str:
        """The distribution as OSV writes it: `Debian:12`, `Alpine:v3.20`, `Ubuntu:24.04`."""
        text = next(
            (self._files[path].decode("utf-8", "replace") for path in _RELEASE if path in self._files), ""
        )
        facts = {name: value.strip("\"'") for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}
        version = facts.get("VERSION_ID", "")
        match facts.get("ID"):
            case "debian":
                return f"Debian:{version}" if version else "Debian"
            case "ubuntu":
                return f"Ubuntu:{version}"
            case "alpine":
                return f"Alpine:v{'.'.join(version.split('.')[:2])}"
        return ""


def _is_wanted(path: str) -> bool:
    return (
        path.endswith(".dist-info/METADATA")
        or path in (_DPKG, _APK, *_RELEASE)
        or (path.startswith(_DPKG_PARTS) and not path.endswith(".md5sums"))
    )


def _python(text: str) -> Iterator[Package]:
    head = HeaderParser().parsestr(text)
    name = normal_name(str(head.get("Name", "")))
    if name:
        yield Package(
            name=name,
            version=str(head.get("Version", "")),
            license=license_of(head),
            requires=tuple(sorted(str(value) for value in head.get_all("Requires-Dist", []))),
        )


def _debian(text: str, ecosystem: str) -> Iterator[Package]:
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", paragraph, re.MULTILINE))
        status = fields.get("Status", "install ok installed")
        if not fields.get("Package") or not status.endswith(" installed"):
            continue
        version = fields.get("Version", "")
        source, _, source_version = fields.get("Source", "").partition(" ")
        yield Package(
            name=fields["Package"],
            version=version,
            ecosystem=ecosystem,
            source=source or fields["Package"],
            source_version=source_version.strip("()") or version,
        )


def _alpine(text: str, ecosystem: str) -> Iterator[Package]:
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Z]):(.*)$", paragraph, re.MULTILINE))
        if fields.get("P"):
            name, version = fields["P"], fields.get("V", "")
            yield Package(
                name=name,
                version=version,
                ecosystem=ecosystem,
                license=fields.get("L", ""),
                source=str(fields.get("o", name)),
                source_version=version,
            )


def packages_of(layout: Path, manifest: dict[str, Any]) -> list[Package]:
    """The packages of one platform's image. Raises ImageError."""
    inventory = Inventory()
    walk_layers(layout, manifest, inventory.visit)
    return inventory.packages()


def walk_layers(layout: Path, manifest: dict[str, Any], *visits: Visit) -> None:
    """Show every member of every layer, the lowest layer first, to each of `visits`; a file's content is read
    once. Raises ImageError for a layer that is missing, unreadable or larger than the limits."""
    limits = Limits()
    for descriptor in manifest.get("layers", []):
        total = 0
        try:
            with open_layer(Layout(layout).blob_path(str(descriptor["digest"]))) as archive:
                for number, member in enumerate(archive):
                    total += member.size
                    if number >= limits.entries_max or total > limits.bytes_max:
                        raise ImageError("a layer is larger than what is scanned")
                    read = _once(archive, member)
                    for visit in visits:
                        visit(member, read)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ImageError(f"a layer cannot be read: {error}") from None


@contextmanager
def open_layer(path: Path) -> Iterator[tarfile.TarFile]:
    """A layer as a tar to be read once."""
    with open_blob(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        yield archive


@contextmanager
def open_blob(path: Path) -> Iterator[IO[bytes]]:
    """A layer's plain bytes, packed with gzip or not, whatever its media type says."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic == _ZSTD:
            raise ImageError(
                f"{path.name}: the layer is packed with zstd, which this Python cannot read",
                hint="build the image with compression=gzip",
            )
        packed = magic[:2] == b"\x1f\x8b"
        yield cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file


def _once(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Reader:
    content: bytes | None = None

    def read() -> bytes:
        nonlocal content
        if content is None:
            reader = archive.extractfile(member) if member.isreg() else None
            content = reader.read() if reader is not None else b""
        return content

    return read
