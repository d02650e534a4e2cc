"""Where the bytes of assets lie: a folder by default, an S3-compatible bucket where one is named."""

from __future__ import annotations

import asyncio
import re
import secrets
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

_KEY = re.compile(r"[a-z0-9]+(?:[/._-][a-z0-9]+)*")
_S3_OPTIONS = {"region": "region", "endpoint": "endpoint", "prefix": "prefix"}


class StorageError(Exception):
    """The storage did not do what it was asked for."""


class Storage(Protocol):
    """Keeps bytes under keys. Keys are made by us: lower case letters, digits and `/._-`, never `..`."""

    async def put(self, key: str, data: bytes, media_type: str) -> None:
        """Keep the bytes; all or nothing. Raises StorageError."""
        ...

    async def get(self, key: str) -> bytes:
        """The bytes. Raises StorageError when there are none."""
        ...

    async def delete(self, key: str) -> None:
        """Forget the bytes; deleting what is not there is no error."""
        ...


class FolderStorage:
    """A folder on a disk that all replicas share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, key: str, data: bytes, media_type: str) -> None:
        await asyncio.to_thread(self._put, key, data)

    async def get(self, key: str) -> bytes:
        try:
            return await asyncio.to_thread(self._path(key).read_bytes)
        except OSError as error:
            raise StorageError(f"cannot read {key}: {error.strerror}") from error

    async def delete(self, key: str) -> None:
        try:
            await asyncio.to_thread(self._path(key).unlink, missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot delete {key}: {error.strerror}") from error

    def _put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            # A reader sees the whole file or none.
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StorageError(f"cannot keep {key}: {error.strerror}") from error

    def _path(self, key: str) -> Path:
        return self._folder / _checked(key)


class BucketStorage:
    """An S3-compatible bucket. Credentials come from the AWS environment or the machine's role."""

    def __init__(self, url: str) -> None:
        # Imported here: the library costs start-up time that a folder does not need.
        from obstore.store import S3Store

        parts = urlsplit(url)
        options: dict[str, Any] = {}
        for name, values in parse_qs(parts.query).items():
            if name not in _S3_OPTIONS:
                raise StorageError(
                    f"STORAGE_URL has an unknown option {name!r}: expected region, endpoint or prefix"
                )
            options[_S3_OPTIONS[name]] = values[-1]
        if str(options.get("endpoint", "")).startswith("http://"):
            options["client_options"] = {"allow_http": True}
        self._store = S3Store(parts.hostname, **options)

    async def put(self, key: str, data: bytes, media_type: str) -> None:
        import obstore

        try:
            await obstore.put_async(self._store, _checked(key), data, attributes={"Content-Type": media_type})
        except Exception as error:  # the library's errors have no base that it documents
            raise StorageError(f"the bucket did not take {key}") from error

    async def get(self, key: str) -> bytes:
        import obstore

        try:
            result = await obstore.get_async(self._store, _checked(key))
            return bytes(await result.bytes_async())
        except Exception as error:
            raise StorageError(f"the bucket did not give {key}") from error

    async def delete(self, key: str) -> None:
        import obstore

        try:
            await obstore.delete_async(self._store, _checked(key))
        except FileNotFoundError:
            return
        except Exception as error:
            raise StorageError(f"the bucket did not delete {key}") from error


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise StorageError(f"not a storage key: {key!r}")
    return key


def open_storage(url: str) -> Storage:
    """The storage that STORAGE_URL names: `file:///folder` or `s3://bucket?region=…&endpoint=…`."""
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return BucketStorage(url)
    return FolderStorage(Path(unquote(parts.path)))
