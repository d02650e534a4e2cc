"""Images for tests and benchmarks, made on this machine with no registry: Debian's packages, imported.

`python scripts/base_image.py [NAME …]` makes what the engine has not got yet, as root:

- `akashic-test/base:1`: Debian with bash, git and Python, by `debootstrap`;
- `akashic-test/redis:1` and `akashic-test/postgres:1`: servers on top of it, by the engine's builder.
PostgreSQL's reads POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and POSTGRES_HOST_AUTH_METHOD as the image of
that name does.

CI needs nothing but this: `.ci/run` starts an engine where it may, and the tests that need images call
`ensure` through a fixture (tests/conftest.py), which makes them once; they stay in the engine. Where there is
no engine, no root or no `debootstrap`, those tests are skipped with the reason.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.errors import AkashicError

BASE = "akashic-test/base:1"
REDIS = "akashic-test/redis:1"
POSTGRES = "akashic-test/postgres:1"
NAMES = (BASE, REDIS, POSTGRES)
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "git,ca-certificates,python3"
DEBOOTSTRAP_TIMEOUT_S = 900
_LEFT_OUT = ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man",
             "usr/share/locale", "var/log")  # fmt: skip

_INSTALL = """\
FROM {base}
RUN apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {package} \\
 && rm -rf /var/lib/apt/lists/*
"""
_REDIS = (
    _INSTALL.format(base=BASE, package="redis-server")
    + """\
EXPOSE 6379
CMD ["redis-server", "--protected-mode", "no", "--save", "", "--appendonly", "no"]
"""
)
_POSTGRES = (
    _INSTALL.format(base=BASE, package="postgresql-15")
    + """\
COPY entrypoint /usr/local/bin/entrypoint
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PGDATA=/var/lib/postgresql/data
EXPOSE 5432
ENTRYPOINT ["entrypoint"]
CMD ["postgres"]
"""
)
_ENTRYPOINT = """\
#!/bin/sh
set -eu
if [ "$1" != postgres ]; then exec "$@"; fi
if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
  echo "Error: Database is uninitialized and superuser password is not specified." >&2
  exit 1
fi
user=${POSTGRES_USER:-postgres}
as_postgres() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }
mkdir -p "$PGDATA" /run/postgresql
chown postgres: "$PGDATA" /run/postgresql
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf %s "${POSTGRES_PASSWORD:-}" >/tmp/password
  [ -s /tmp/password ] || echo unused >/tmp/password
  chown postgres: /tmp/password
  as_postgres initdb --no-sync -U "$user" --pwfile /tmp/password -D "$PGDATA" >/dev/null
  rm /tmp/password
  echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
  if [ "${POSTGRES_DB:-$user}" != postgres ]; then
    printf 'CREATE DATABASE "%s";\\n' "${POSTGRES_DB:-$user}" |
      as_postgres postgres --single -D "$PGDATA" postgres >/dev/null
  fi
fi
exec setpriv --reuid postgres --regid postgres --init-groups postgres -c listen_addresses='*' -c fsync=off
"""


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when every image is there, 1 with the reason when not."""
    try:
        engine = Engine.connect(os.environ)
        for name in arguments or NAMES:
            ensure(engine, name)
            print(f"{name}: {engine.images.inspect(name).size_bytes // 1_000_000} MB")
    except AkashicError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)
        return 1
    return 0


def ensure(engine: Engine, name: str) -> None:
    """Make an image unless the engine has it. Raises AkashicError with the reason why it cannot be made."""
    if engine.images.exists(name):
        return
    if name == BASE:
        _make_base(engine)
        return
    ensure(engine, BASE)
    files = {REDIS: {"Dockerfile": _REDIS}, POSTGRES: {"Dockerfile": _POSTGRES, "entrypoint": _ENTRYPOINT}}[
        name
    ]
    engine.images.build(
        iter((_context(files),)), tags=(name,), network="host", say=_say, cancellation=Cancellation()
    )


def _say(line: str) -> None:
    if line.strip():
        print(f"  {line}", file=sys.stderr)


def _context(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o755
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _make_base(engine: Engine) -> None:
    program = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if os.geteuid() != 0:
        raise AkashicError(
            f"{BASE} is not there, and only root can make it", hint="sudo scripts/base_image.py"
        )
    if program is None:
        raise AkashicError(
            f"{BASE} is not there, and debootstrap, which makes it, is not installed",
            hint="apt-get install debootstrap",
        )
    with tempfile.TemporaryDirectory(prefix="akashic-base-") as place:
        root = Path(place) / "root"
        command = [program, "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root), MIRROR]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEBOOTSTRAP_TIMEOUT_S, check=False
        )
        if done.returncode:
            raise AkashicError(f"debootstrap failed: {(done.stdout + done.stderr)[-600:].strip()}")
        (root / "usr/bin/python").symlink_to("python3")
        for folder in _LEFT_OUT:
            shutil.rmtree(root / folder, ignore_errors=True)
            (root / folder).mkdir(parents=True)
        engine.images.import_archive(
            _tar(root),
            BASE,
            changes=[
                'CMD ["bash"]',
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "ENV LANG=C.UTF-8",
            ],
            cancellation=Cancellation(),
        )


def _tar(root: Path) -> Iterator[bytes]:
    archiver = subprocess.Popen(
        ["tar", "--numeric-owner", "--exclude=./dev/*", "-C", str(root), "-c", "."], stdout=subprocess.PIPE
    )
    assert archiver.stdout is not None
    with archiver:
        while part := archiver.stdout.read(1 << 20):
            yield part


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
