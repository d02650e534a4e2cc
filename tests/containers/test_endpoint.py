"""Where the engine is looked for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from akashic.containers.endpoint import Endpoint, find_endpoint, parse_endpoint
from akashic.containers.engine import Engine
from akashic.containers.errors import EngineMissing
from akashic.errors import UsageError


def test_docker_host_wins(tmp_path: Path) -> None:
    assert find_endpoint({"DOCKER_HOST": "unix:///x/y.sock"}) == Endpoint(path="/x/y.sock")
    assert find_endpoint({"DOCKER_HOST": "tcp://[::1]:2375"}) == Endpoint(host="::1", port=2375)


def test_the_current_context_is_followed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "lab"}))
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"lab").hexdigest()
    folder.mkdir(parents=True)
    host = {"Endpoints": {"docker": {"Host": "unix:///lab.sock"}}}
    (folder / "meta.json").write_text(json.dumps(host))
    assert find_endpoint({"DOCKER_CONFIG": str(tmp_path)}) == Endpoint(path="/lab.sock")
    with pytest.raises(UsageError, match="gone"):
        find_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "gone"})


def test_a_rootless_socket_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("akashic.containers.endpoint.SYSTEM_SOCKET", str(tmp_path / "none"))
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman" / "podman.sock").touch()
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    assert find_endpoint(environ) == Endpoint(path=f"{tmp_path}/podman/podman.sock")


@pytest.mark.parametrize(
    "text", ["ssh://me@host", "unix://relative", "tcp://host", "tcp://host:0", "x", "npipe:////./x"]
)
def test_other_addresses_are_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(UsageError, match="DOCKER_HOST"):
        parse_endpoint(text, "DOCKER_HOST")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="there is no container engine at"):
        Engine.connect({"DOCKER_HOST": f"unix://{tmp_path}/none"}).ping()
