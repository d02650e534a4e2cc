"""Links and paths of a repository that lead out of it (attacks: links out of a checkout)."""

from __future__ import annotations

from pathlib import Path

import pytest

from akashic.app.repository import read_repository
from akashic.app.workflows import WorkflowTree
from akashic.errors import UsageError
from tests.app.checkout import Checkout


@pytest.mark.parametrize("link", ["absolute", "relative", "folder"])
def test_attack_34_a_workflow_file_is_not_read_through_a_link_out_of_the_repository(
    tmp_path: Path, link: str
) -> None:
    secret = tmp_path / "outside" / "key.yml"
    secret.parent.mkdir()
    secret.write_text("PRIVATE KEY")
    checkout = Checkout(tmp_path / "shop")
    folder = checkout.path / ".github" / "workflows"
    folder.parent.mkdir()
    if link == "folder":
        folder.symlink_to(secret.parent)
    else:
        folder.mkdir()
        (folder / "key.yml").symlink_to(secret if link == "absolute" else "../../../outside/key.yml")
    checkout.commit()
    repository = read_repository(checkout.path, {"PATH": "/usr/bin:/bin"})
    tree = WorkflowTree(repository.root, lambda: repository, from_commit=False)
    with pytest.raises(UsageError, match="leads out of the repository"):
        tree.read(".github/workflows/key.yml")


def test_attack_34_a_path_with_dots_does_not_leave_the_repository(tmp_path: Path) -> None:
    (tmp_path / "key.yml").write_text("PRIVATE KEY")
    checkout = Checkout(tmp_path / "shop")
    checkout.commit()
    repository = read_repository(checkout.path, {"PATH": "/usr/bin:/bin"})
    tree = WorkflowTree(repository.root, lambda: repository, from_commit=False)
    for path in ("../key.yml", str(tmp_path / "key.yml"), ".github/../../key.yml"):
        with pytest.raises(UsageError, match="leads out of the repository"):
            tree.read(path)
