"""actions/checkout: this tree, other refs, and nothing that runs by itself."""

import subprocess
from pathlib import Path

import pytest

from akashic.actions.checkout import CHECKOUT
from akashic.actions.protocol import ActionFailed


def test_the_tree_of_the_run_is_checked_out(job) -> None:
    ctx = job().use(CHECKOUT)
    assert (Path(ctx.sandbox.workspace) / "src/a.txt").read_text() == "a\n"
    assert ctx.outputs == {"ref": "refs/heads/main", "commit": ctx.tree.commit}


def test_path_puts_it_below_the_workspace(job) -> None:
    ctx = job().use(CHECKOUT, path="sub/dir")
    assert (Path(ctx.sandbox.workspace) / "sub/dir/README.md").exists()


@pytest.mark.parametrize("path", ["..", "../x", "/etc", "a/../../b", "a\0b"])
def test_a_path_out_of_the_workspace_is_refused(job, path: str) -> None:
    with pytest.raises(ActionFailed, match="is not under"):
        job().use(CHECKOUT, path=path)


def test_another_branch_of_the_same_repository(job) -> None:
    ctx = job().use(CHECKOUT, ref="old")
    assert not (Path(ctx.sandbox.workspace) / "src").exists()
    assert ctx.outputs["ref"] == "old"
    assert ctx.outputs["commit"] != ctx.tree.commit


def test_an_unknown_ref_says_so(job) -> None:
    with pytest.raises(ActionFailed, match="'nowhere' could not be found"):
        job().use(CHECKOUT, ref="nowhere")


def test_a_ref_is_never_an_option_of_git(job) -> None:
    with pytest.raises(ActionFailed, match="is no ref"):
        job().use(CHECKOUT, ref="--upload-pack=touch x")


def test_another_repository_is_cloned_without_its_hooks(job, tmp_path: Path) -> None:
    ctx = job()
    place = tmp_path / "server" / "octo" / "other"
    place.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", ctx.tree.root, str(place)], check=True)
    ctx.use(CHECKOUT, repository="octo/other", path="other", github_server_url=f"file://{tmp_path}/server")
    assert (Path(ctx.sandbox.workspace) / "other/src/a.txt").exists()
    assert not list((Path(ctx.sandbox.workspace) / "other/.git").glob("hooks/*"))


def test_an_unreachable_repository_is_a_clear_error(job, tmp_path: Path) -> None:
    with pytest.raises(ActionFailed, match="octo/none could not be fetched"):
        job().use(CHECKOUT, repository="octo/none", github_server_url=f"file://{tmp_path}/nothing")


def test_sparse_checkout_leaves_only_what_was_asked_for(job) -> None:
    ctx = job().use(CHECKOUT, sparse_checkout="/README.md", sparse_checkout_cone_mode="false")
    assert (Path(ctx.sandbox.workspace) / "README.md").exists()
    assert not (Path(ctx.sandbox.workspace) / "src").exists()


def test_the_token_is_never_in_the_workspace_and_goes_with_the_job(job) -> None:
    ctx = job().use(CHECKOUT, token="ghs_secrettoken")
    stored = (Path(ctx.sandbox.workspace) / ".git/config").read_text()
    assert "ghs_secrettoken" not in stored
    assert "extraheader" not in stored
    assert not any("ghs_secrettoken" in word for argv in ctx.commands for word in argv)
    credentials = Path(ctx.state["credentials"])
    assert credentials.stat().st_mode & 0o077 == 0
    assert CHECKOUT.post is not None
    CHECKOUT.post(ctx)
    assert not credentials.exists()
    assert "credentials" not in (Path(ctx.sandbox.workspace) / ".git/config").read_text()


@pytest.mark.parametrize("name", ["clean", "lfs", "fetch_tags"])
def test_a_boolean_that_is_none_fails(job, name: str) -> None:
    with pytest.raises(ActionFailed, match=r"YAML 1\.2"):
        job().use(CHECKOUT, **{name: "yes"})
