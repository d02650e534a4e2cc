"""Attacks 17, 24, 34, 36: what a hostile repository or an earlier step tries on built-in actions."""

import subprocess
from pathlib import Path

import pytest

from akashic.actions.checkout import CHECKOUT
from akashic.actions.protocol import ActionFailed
from akashic.actions.upload_artifact import UPLOAD
from tests.actions.conftest import job, repository

__all__ = ["job", "repository"]


def test_attack_36_no_hook_runs_at_checkout(job, tmp_path: Path) -> None:
    ctx = job()
    server = tmp_path / "server" / "octo" / "evil"
    server.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", ctx.tree.root, str(server)], check=True)
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    (template / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/owned\n")
    (template / "post-checkout").chmod(0o755)
    ctx.env["GIT_TEMPLATE_DIR"] = str(template.parent)
    ctx.use(CHECKOUT, repository="octo/evil", path="e", github_server_url=f"file://{tmp_path}/server")
    assert (Path(ctx.sandbox.workspace) / "e/README.md").exists()
    assert not (tmp_path / "owned").exists()


def test_attack_36_submodules_only_on_request(job) -> None:
    ctx = job().use(CHECKOUT)
    assert not any("submodule" in argv for argv in ctx.commands)
    with pytest.raises(ActionFailed, match="submodules"):
        job().use(CHECKOUT, submodules="sometimes")


def test_attack_24_a_step_cannot_shadow_git(job, tmp_path: Path) -> None:
    ctx = job()
    evil = ctx.file("bin/git", f"#!/bin/sh\ntouch {tmp_path}/owned\n")
    evil.chmod(0o755)
    ctx.add_path(str(evil.parent))
    ctx.use(CHECKOUT, ref="old", path="x")
    assert ctx.outputs["commit"]
    assert not (tmp_path / "owned").exists()


def test_attack_34_a_link_out_of_the_workspace_is_not_uploaded(job) -> None:
    ctx = job()
    ctx.file("out/a.txt")
    Path(ctx.sandbox.workspace, "out/passwd").symlink_to("/etc/passwd")
    Path(ctx.sandbox.workspace, "out/etc").symlink_to("/etc")
    ctx.use(UPLOAD, path="out")
    assert ctx.artifacts.find_all()[0].files == 1
    assert {level for level, _ in ctx.annotations} == {"warning"}


def test_attack_17_a_live_token_is_not_uploaded(job) -> None:
    ctx = job()
    ctx.github["token"] = "ghs_0123456789abcdef"
    ctx.file("debug/git-config", "x" * ((1 << 20) - 5) + "ghs_0123456789abcdef")
    with pytest.raises(ActionFailed, match="holds the job's token"):
        ctx.use(UPLOAD, path="debug")
    assert ctx.artifacts.find_all() == []


def test_attack_1_an_artifact_name_is_no_path(job) -> None:
    ctx = job()
    ctx.file("a")
    for name in ("../x", "..", "a/b", "a\\b", "x\0y"):
        with pytest.raises(ActionFailed):
            ctx.use(UPLOAD, name=name, path="a")
    assert [path.name for path in Path(ctx.sandbox.workspace).iterdir()] == ["a"]
