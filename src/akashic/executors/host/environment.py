"""The environment and the HOME that a job's processes start from.

HOME is a fresh folder of the job's own: what a step leaves there is gone with the job, and credentials of the
user (`~/.ssh`, `~/.aws`, `~/.netrc`, …) are not found through it. Tools that live below the real home are
found all the same: version managers get their usual variable pointing to the real folder, unless the user has
set it. Download caches (pip, uv, npm, go) keep theirs: with isolation as a copy-on-write view of `~/.cache`
at the job's `~/.cache`, without as variables that point to the real folders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_PASSED = ("LANG", "LANGUAGE", "TZ", "TERM", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
           "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL",
           "PIP_FIND_LINKS", "PIP_DEFAULT_TIMEOUT", "PIP_DISABLE_PIP_VERSION_CHECK", "UV_DEFAULT_INDEX",
           "UV_INDEX_URL", "UV_FIND_LINKS", "NPM_CONFIG_REGISTRY", "npm_config_registry", "GOPROXY",
            "GOSUMDB",
           "GOFLAGS", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY",
           "NO_PROXY", "ALL_PROXY", "JAVA_HOME", "GOROOT", "DOCKER_HOST")  # fmt: skip
"""What decides how this machine reaches its toolchains and networks; everything else stays outside."""

_TOOLS = {
    "PYENV_ROOT": ".pyenv",
    "RBENV_ROOT": ".rbenv",
    "NODENV_ROOT": ".nodenv",
    "ASDF_DATA_DIR": ".asdf",
    "NVM_DIR": ".nvm",
    "VOLTA_HOME": ".volta",
    "RUSTUP_HOME": ".rustup",
    "SDKMAN_DIR": ".sdkman",
    "MISE_DATA_DIR": ".local/share/mise",
    "UV_PYTHON_INSTALL_DIR": ".local/share/uv/python",
}
_CACHES = {
    "PIP_CACHE_DIR": ".cache/pip",
    "UV_CACHE_DIR": ".cache/uv",
    "npm_config_cache": ".npm",
    "GOCACHE": ".cache/go-build",
    "GOMODCACHE": "go/pkg/mod",
}

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_env(
    environ: Mapping[str, str], *, home: str, ceiling: str, mark: str, cache_view: bool
) -> dict[str, str]:
    """What a process of a job starts from, made of our own environment. `ceiling` is the folder above which
    git must not look for a repository; `mark` names the sandbox; `cache_view` says that `home` shows the
    user's `~/.cache`."""
    real_home = environ.get("HOME", "/")
    env = {name: environ[name] for name in _PASSED if name in environ}
    env |= {name: value for name, value in environ.items() if name.startswith("LC_")}
    for name, folder in _TOOLS.items():
        _point(env, environ, name, os.path.join(real_home, folder))
    for name, folder in _CACHES.items():
        if not (cache_view and folder.startswith(".cache/")):
            _point(env, environ, name, os.path.join(real_home, folder))
    env.setdefault("LANG", "C.UTF-8")
    env["PATH"] = environ.get("PATH") or DEFAULT_PATH
    env["HOME"] = home
    env["USER"] = env["LOGNAME"] = environ.get("USER") or environ.get("LOGNAME") or "runner"
    env["SHELL"] = "/bin/bash"
    # The workspace lies below the repository it was made from; git must not take that one for the job's.
    env["GIT_CEILING_DIRECTORIES"] = ceiling
    env["GIT_TERMINAL_PROMPT"] = "0"
    env["AKASHIC_SANDBOX"] = mark
    return env


def _point(env: dict[str, str], environ: Mapping[str, str], name: str, folder: str) -> None:
    if name in environ:
        env[name] = environ[name]
    elif os.path.isdir(folder):
        env[name] = folder
