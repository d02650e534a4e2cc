"""Settings come from the environment and from nowhere else.

`load` reads all of them at once and names everything that is wrong in one go, so that a deployment with
three mistakes is corrected once and not three times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

SESSION_SECRET_LENGTH_MIN = 32
ENVIRONMENTS = ("development", "test", "staging", "production", "preview")
LOG_LEVELS = ("debug", "info", "warning", "error")
PORT_MAX = 65_535


class SettingsError(Exception):
    """One or more settings are missing or malformed. `problems` has one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Secret(str):
    """Text that does not show itself in a repr, and so in no log line or traceback with locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the service was told. URLs are kept as given; secrets hide their repr."""

    database_url: Secret
    redis_url: Secret
    session_secret: Secret
    session_secret_previous: Secret | None
    storage_url: str
    mail_url: Secret
    mail_from: str
    public_url: str
    host: str
    port: int
    environment: str
    log_level: str
    version: str
    commit: str
    database_pool_max: int
    shutdown_timeout_s: int
    openai_api_key: Secret | None
    openai_model: str
    stripe_secret_key: Secret | None

    @property
    def cookie_secure(self) -> bool:
        """Cookies are marked Secure exactly where the public address is HTTPS."""
        return self.public_url.startswith("https://")


class _Reader:
    """Reads single settings and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self._environ.get(name, "").strip()
        if value:
            return value
        if default is None:
            self.problems.append(f"{name} is not set")
            return ""
        return default

    def optional_secret(self, name: str) -> Secret | None:
        value = self._environ.get(name, "").strip()
        return Secret(value) if value else None

    def url(
        self,
        name: str,
        *,
        schemes: tuple[str, ...],
        default: str | None = None,
        check: Callable[[SplitResult], str | None] | None = None,
    ) -> str:
        value = self.text(name, default=default)
        if not value:
            return ""
        expected = " or ".join(f"{scheme}://…" for scheme in schemes)
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            self.problems.append(f"{name} is not a URL: expected {expected}")
            return ""
        if parts.scheme not in schemes:
            # The value is never repeated: it may carry a password.
            self.problems.append(f"{name} must start with {expected}")
        elif check is not None and (problem := check(parts)):
            self.problems.append(f"{name} {problem}")
        return value

    def choice(self, name: str, choices: tuple[str, ...], *, default: str) -> str:
        value = self.text(name, default=default).lower()
        if value not in choices:
            self.problems.append(f"{name} must be one of {', '.join(choices)}")
        return value

    def number(self, name: str, *, default: int, low: int, high: int) -> int:
        value = self.text(name, default=str(default))
        if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            self.problems.append(f"{name} must be a whole number from {low} to {high}, not {value!r}")
            return default
        return int(value)


def _needs_host(parts: SplitResult) -> str | None:
    return None if parts.hostname else "names no host"


def _needs_database(parts: SplitResult) -> str | None:
    if len(parts.path) < 2:
        return "names no database: expected postgresql://user:password@host:port/database"
    return None


def _needs_place(parts: SplitResult) -> str | None:
    if parts.scheme == "file" and not parts.path.startswith("/"):
        return "needs an absolute folder: expected file:///folder"
    if parts.scheme == "s3" and not parts.hostname:
        return "names no bucket: expected s3://bucket?region=eu-central-1"
    return None


def _needs_mail_host(parts: SplitResult) -> str | None:
    if parts.scheme != "console" and not parts.hostname:
        return "names no host (for ses: no region)"
    return None


def load(environ: Mapping[str, str]) -> Settings:
    """All settings of the service.

    Raises SettingsError with everything that is missing or malformed.
    """
    reader = _Reader(environ)
    secret = reader.text("SESSION_SECRET")
    if secret and len(secret) < SESSION_SECRET_LENGTH_MIN:
        reader.problems.append(
            f"SESSION_SECRET is too short: at least {SESSION_SECRET_LENGTH_MIN} characters are needed"
        )
    settings = Settings(
        database_url=Secret(database_url(reader)),
        redis_url=Secret(reader.url("REDIS_URL", schemes=("redis", "rediss"), check=_needs_host)),
        session_secret=Secret(secret),
        session_secret_previous=reader.optional_secret("SESSION_SECRET_PREVIOUS"),
        storage_url=reader.url(
            "STORAGE_URL",
            schemes=("file", "s3"),
            default="file:///tmp/campaign-console-assets",  # nosec B108: a default for development
            check=_needs_place,
        ),
        mail_url=Secret(
            reader.url(
                "MAIL_URL",
                schemes=("console", "smtp", "smtps", "ses"),
                default="console://",
                check=_needs_mail_host,
            )
        ),
        mail_from=reader.text("MAIL_FROM", default="Campaign Console <console@localhost>"),
        public_url=reader.url(
            "PUBLIC_URL", schemes=("http", "https"), default="http://localhost:3000", check=_needs_host
        ).rstrip("/"),
        host=reader.text("HOST", default="127.0.0.1"),
        port=reader.number("PORT", default=3000, low=1, high=PORT_MAX),
        environment=reader.choice("APP_ENVIRONMENT", ENVIRONMENTS, default="development"),
        log_level=reader.choice("LOG_LEVEL", LOG_LEVELS, default="info"),
        version=reader.text("APP_VERSION", default="0.0.0-dev"),
        commit=reader.text("APP_COMMIT", default="unknown"),
        database_pool_max=reader.number("DATABASE_POOL_MAX", default=10, low=1, high=200),
        shutdown_timeout_s=reader.number("SHUTDOWN_TIMEOUT_S", default=20, low=1, high=600),
        openai_api_key=reader.optional_secret("OPENAI_API_KEY"),
        openai_model=reader.text("OPENAI_MODEL", default="gpt-4o-mini"),
        stripe_secret_key=reader.optional_secret("STRIPE_SECRET_KEY"),
    )
    if reader.problems:
        raise SettingsError(tuple(reader.problems))
    return settings


def database_url(reader: _Reader) -> str:
    return reader.url("DATABASE_URL", schemes=("postgresql", "postgres"), check=_needs_database)


def load_database_url(environ: Mapping[str, str]) -> Secret:
    """Only `DATABASE_URL`, for the commands that need nothing else.

    Raises SettingsError when it is missing or malformed.
    """
    reader = _Reader(environ)
    value = database_url(reader)
    if reader.problems:
        raise SettingsError(tuple(reader.problems))
    return Secret(value)
