"""Credentials for registries: the user's Docker settings and credential helpers.

Source: Docker's "docker login" page (credential stores and helpers): `credHelpers` for a registry, else
`credsStore`, else `auths`. A helper is asked with its argv and the registry on its standard input.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from akashic.containers.endpoint import read_config
from akashic.containers.errors import EngineError
from akashic.containers.references import HUB, HUB_KEY

HELPER_TIMEOUT_S = 30.0
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who asks a registry. The secrets are not shown by `repr`."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry: str = ""

    def header(self) -> str:
        """The value of X-Registry-Auth."""
        facts = {"serveraddress": self.registry}
        if self.identity_token:
            facts["identitytoken"] = self.identity_token
        else:
            facts |= {"username": self.username, "password": self.password}
        return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode()


def find_credentials(registry: str, environ: Mapping[str, str]) -> Credentials | None:
    """What the user's settings hold for a registry (`docker.io` for Docker Hub); None when nothing. Raises
    EngineError when a helper that is named there fails."""
    settings = read_config(environ)
    key = HUB_KEY if registry == HUB else registry
    helpers = settings.get("credHelpers")
    helper = ""
    if isinstance(helpers, dict):
        helper = str(helpers.get(key) or helpers.get(registry) or "")
    helper = helper or str(settings.get("credsStore") or "")
    if helper:
        found = _ask_helper(helper, key, environ)
        if found is not None:
            return found
    auths = settings.get("auths")
    if not isinstance(auths, dict):
        return None
    for name, entry in auths.items():
        if isinstance(entry, dict) and _same_registry(str(name), registry):
            found = _from_entry(entry, key)
            if found is not None:
                return found
    return None


def all_credentials(environ: Mapping[str, str]) -> dict[str, Credentials]:
    """What lies in the settings for every registry, without asking helpers; a build may need any of them."""
    auths = read_config(environ).get("auths")
    found: dict[str, Credentials] = {}
    for name, entry in auths.items() if isinstance(auths, dict) else ():
        credentials = _from_entry(entry, str(name)) if isinstance(entry, dict) else None
        if credentials is not None:
            found[str(name)] = credentials
    return found


def _same_registry(name: str, registry: str) -> bool:
    """Old settings have whole addresses as names: `https://registry.example.com/v1/`."""
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    if registry == HUB:
        return host in ("index.docker.io", "docker.io", "registry-1.docker.io")
    return host == registry


def _from_entry(entry: Mapping[str, object], key: str) -> Credentials | None:
    token = str(entry.get("identitytoken") or "")
    if token:
        return Credentials(identity_token=token, registry=key)
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    encoded = str(entry.get("auth") or "")
    if encoded:
        try:
            username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    password = password.rstrip("\0")
    return Credentials(username=username, password=password, registry=key) if username else None


def _ask_helper(name: str, key: str, environ: Mapping[str, str]) -> Credentials | None:
    if not _HELPER.fullmatch(name):
        raise EngineError(f"Docker's config.json names a credential helper that cannot be one: {name!r}")
    program = shutil.which(f"docker-credential-{name}", path=environ.get("PATH"))
    if program is None:
        raise EngineError(
            f"Docker's config.json names the credential helper docker-credential-{name}, and it is not on "
            f"PATH",
            hint="install it, or remove it from config.json",
        )
    try:
        done = subprocess.run(
            [program, "get"],
            input=key.encode(),
            env=dict(environ),
            capture_output=True,
            timeout=HELPER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"docker-credential-{name} does not answer: {error}") from None
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        if _NOT_FOUND in said.lower():
            return None
        raise EngineError(
            f"docker-credential-{name} failed for {key}: {said[:500] or f'exit code {done.returncode}'}"
        )
    try:
        answer = json.loads(said)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise EngineError(f"docker-credential-{name} gave no valid answer for {key}") from None
    if username == "<token>":
        return Credentials(identity_token=secret, registry=key)
    return Credentials(username=username, password=secret, registry=key)
