"""What is installed in an image, and which advisories are about it."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from akashic.errors import UsageError
from akashic.images.advisories import import_advisories, vulnerable
from akashic.images.inventory import packages_of
from akashic.images.locks import Package
from akashic.images.sbom import purl
from akashic.images.store import ImageError, Layout
from akashic.images.versions import alpine_key, debian_key

DPKG = """\
Package: libssl3
Status: install ok installed
Source: openssl
Version: 3.0.11-1~deb12u2

Package: bash
Status: deinstall ok config-files
Version: 5.2
"""
APK = "P:musl\nV:1.2.4-r2\nL:MIT\no:musl\n\nP:libcrypto3\nV:3.1.4-r5\no:openssl\nL:Apache-2.0\n"


def layer(store: Layout, files: dict[str, str]) -> dict[str, Any]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return {"digest": store.put(buffer.getvalue())}


@pytest.fixture
def store(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "layout")
    found.create()
    return found


def test_debian_packages_are_known_by_release_and_source(store: Layout) -> None:
    files = {"./etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "./var/lib/dpkg/status": DPKG}
    (found,) = packages_of(store.path, {"layers": [layer(store, files)]})
    assert (found.name, found.ecosystem, found.source) == ("libssl3", "Debian:12", "openssl")
    assert purl(found) == "pkg:deb/debian/libssl3@3.0.11-1~deb12u2?distro=debian-12"


def test_alpine_packages(store: Layout) -> None:
    files = {"etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n", "lib/apk/db/installed": APK}
    found = packages_of(store.path, {"layers": [layer(store, files)]})
    assert [(p.name, p.ecosystem, p.license) for p in found] == [
        ("libcrypto3", "Alpine:v3.20", "Apache-2.0"),
        ("musl", "Alpine:v3.20", "MIT"),
    ]


def test_a_later_layer_replaces_and_removes(store: Layout) -> None:
    lower = {f"site/{name}-1.dist-info/METADATA": f"Name: {name}\nVersion: 1\n" for name in ("a", "b", "c")}
    upper = {
        "site/a-1.dist-info/METADATA": "Name: a\nVersion: 2\n",
        "site/.wh.b-1.dist-info": "",
        "site/c-1.dist-info/.wh..wh..opq": "",
    }
    found = packages_of(store.path, {"layers": [layer(store, lower), layer(store, upper)]})
    assert [(p.name, p.version) for p in found] == [("a", "2")]


def test_a_layer_that_cannot_be_read_is_said(store: Layout) -> None:
    with pytest.raises(ImageError, match="zstd"):
        packages_of(store.path, {"layers": [{"digest": store.put(b"\x28\xb5\x2f\xfd0000")}]})
    with pytest.raises(ImageError, match="cannot be read"):
        packages_of(store.path, {"layers": [{"digest": store.put(b"\x1f\x8b000")}]})


DEBIAN_ORDER = [
    "1.0~rc1-1",
    "1.0-1~deb12u1",
    "1.0-1",
    "1.0-1+b1",
    "1.0-2",
    "1.0a-1",
    "1.0.1-1",
    "1.10-1",
    "1:0.1",
]
ALPINE_ORDER = ["1.2_alpha1", "1.2_rc2", "1.2-r0", "1.2-r10", "1.2_p1", "1.2a", "1.10"]


def test_versions_of_distributions_sort_as_their_packages_do() -> None:
    assert sorted(set(DEBIAN_ORDER), key=lambda v: debian_key(v) or ()) == DEBIAN_ORDER
    assert sorted(set(ALPINE_ORDER), key=lambda v: alpine_key(v) or ()) == ALPINE_ORDER
    assert debian_key("not a version!") is None and alpine_key("x") is None


def osv(identity: str, ecosystem: str, name: str, fixed: str) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]
    return {
        "id": identity,
        "affected": [{"package": {"ecosystem": ecosystem, "name": name}, "ranges": ranges}],
    }


def export(path: Path, *records: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for record in records:
            archive.writestr(f"{record['id']}.json", json.dumps(record))
    return path


def test_an_export_is_imported_once_and_found_again(tmp_path: Path) -> None:
    libssl = Package(
        name="libssl3",
        version="3.0.11-1~deb12u2",
        ecosystem="Debian:12",
        source="openssl",
        source_version="3.0.11-1~deb12u2",
    )
    debian = export(
        tmp_path / "all.zip",
        osv("DSA-1", "Debian:12", "openssl", "3.0.13-1"),
        osv("DSA-2", "Debian:12", "openssl", "3.0.11-1~deb12u1"),
        osv("DSA-3", "Debian:11", "openssl", "9"),
    )
    python = export(tmp_path / "python.zip", osv("PYSEC-1", "PyPI", "Foo_Bar", "2"))
    store = tmp_path / "store"

    assert import_advisories(debian, store) == ("Debian", 3)
    assert import_advisories(debian, store) == ("Debian", 3)
    assert import_advisories(python, store) == ("PyPI", 1)

    found = vulnerable([libssl, Package(name="foo-bar", version="1.9")], store)
    assert sorted(finding.rule for finding in found) == ["vulnerability/DSA-1", "vulnerability/PYSEC-1"]
    with pytest.raises(UsageError, match="holds no OSV records"):
        import_advisories(export(tmp_path / "none.zip"), store)
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="not a readable zip"):
        import_advisories(tmp_path / "bad.zip", store)
