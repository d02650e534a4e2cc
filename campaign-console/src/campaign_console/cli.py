"""`campaign-console serve | migrate | seed | create-account | health`.

Exit codes: 0 done, 1 it failed, 2 settings or arguments are wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from campaign_console import settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; everything a person can get wrong ends in one line on standard error."""
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
        assert isinstance(code, int)
        return code
    except settings.SettingsError as error:
        print(f"campaign-console: the environment is wrong: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="campaign-console", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the web service (PORT, default 3000)")
    serve.set_defaults(run=_serve)
    migrate = commands.add_parser("migrate", help="bring the database's schema up to date")
    migrate.add_argument("--seed", action="store_true", help="then do what `seed` does")
    migrate.set_defaults(run=_migrate)
    seed = commands.add_parser("seed", help="add example accounts and campaigns")
    seed.set_defaults(run=_seed)
    account = commands.add_parser(
        "create-account", help="add an account; the password is in ACCOUNT_PASSWORD, or asked for"
    )
    account.add_argument("email")
    account.add_argument("--name", required=True)
    account.add_argument("--role", choices=("editor", "viewer"), default="editor")
    account.set_defaults(run=_create_account)
    health = commands.add_parser("health", help="ask the service on this machine whether it is healthy")
    health.set_defaults(run=_health)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    loaded = settings.load(os.environ)
    from campaign_console import server

    return server.serve(loaded)


def _migrate(arguments: argparse.Namespace) -> int:
    database_url = settings.load_database_url(os.environ)
    import psycopg

    from campaign_console import migrations, resources

    try:
        done = migrations.apply(database_url, resources.folder("migrations"))
    except (psycopg.Error, migrations.MigrationError) as error:
        return _failed("the migration failed", error)
    for migration in done:
        print(f"applied {migration.name}")
    print(f"the schema is up to date ({len(done)} applied)")
    return _seed(arguments) if arguments.seed else 0


def _seed(arguments: argparse.Namespace) -> int:
    database_url = settings.load_database_url(os.environ)
    import psycopg

    from campaign_console import resources, seeding

    password = os.environ.get("SEED_PASSWORD", "")
    if not password:
        if os.environ.get("APP_ENVIRONMENT") == "production":
            raise settings.SettingsError(
                ("SEED_PASSWORD is not set, and production takes no known password",)
            )
        password = seeding.DEMONSTRATION_PASSWORD
    try:
        accounts, campaigns = seeding.seed(database_url, resources.folder("seed"), password=password)
    except psycopg.Error as error:
        return _failed("the seed failed", error)
    print(f"added {accounts} accounts and {campaigns} campaigns")
    return 0


def _ask_password() -> str:
    """Typed at the terminal; empty when there is none."""
    if not sys.stdin.isatty():
        return ""
    import getpass

    return getpass.getpass("Password: ")


def _create_account(arguments: argparse.Namespace) -> int:
    database_url = settings.load_database_url(os.environ)
    import psycopg

    from campaign_console import accounts
    from campaign_console.passwords import problem_with

    password = os.environ.get("ACCOUNT_PASSWORD") or _ask_password()
    problem = problem_with(password) or (None if "@" in arguments.email else "That is not a mail address.")
    if problem:
        print(f"campaign-console: {problem}", file=sys.stderr)
        return 2
    try:
        accounts.create(
            database_url, email=arguments.email, name=arguments.name, role=arguments.role, password=password
        )
    except psycopg.Error as error:
        return _failed("the account was not created", error)
    print(f"{arguments.email} may sign in as {arguments.role}")
    return 0


def _health(arguments: argparse.Namespace) -> int:
    """Used by the image's HEALTHCHECK: no shell tools are needed in the image."""
    import http.client

    port = os.environ.get("PORT", "3000")
    if not port.isdigit():
        raise settings.SettingsError((f"PORT must be a whole number, not {port!r}",))
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=3)
    try:
        connection.request("GET", "/api/health")
        answer = connection.getresponse()
        print(answer.read(10_000).decode(errors="replace"))
    except OSError as error:
        return _failed("the service does not answer", error)
    finally:
        connection.close()
    return 0 if answer.status == 200 else 1


def _failed(what: str, error: Exception) -> int:
    detail = " ".join(str(error).split())
    print(f"campaign-console: {what}: {detail}", file=sys.stderr)
    return 1
