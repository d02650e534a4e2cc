"""Which files have changed, and which workflows that affects."""

from __future__ import annotations

from pathlib import Path

import pytest

from akashic.app.selection import Request, no_remote
from akashic.app.watching import Watcher, affected
from tests.app.checkout import Checkout, open_application


def test_made_edited_and_removed_files_are_changes(checkout: Checkout) -> None:
    checkout.workflow()
    checkout.write("a.txt", "1")
    checkout.write("b.txt", "1")
    checkout.write(".gitignore", "*.log")
    checkout.commit()
    watcher = Watcher(open_application(checkout))
    assert watcher.changes() == ()
    checkout.write("a.txt", "longer")
    (checkout.path / "b.txt").unlink()
    checkout.write("new/c ä.txt", "1")
    checkout.write("noise.log", "1")
    assert watcher.changes() == ("a.txt", "b.txt", "new/c ä.txt")
    assert watcher.changes() == ()


def test_what_we_write_ourselves_is_no_change(checkout: Checkout) -> None:
    checkout.write("watch.log", "1")
    checkout.commit()
    log = (checkout.path / "watch.log").stat()
    watcher = Watcher(open_application(checkout), written={(log.st_dev, log.st_ino)})
    with (checkout.path / "watch.log").open("a") as file:
        file.write("another line")
    assert watcher.changes() == ()


def test_our_own_state_is_no_change(checkout: Checkout) -> None:
    checkout.commit()
    application = open_application(checkout)
    watcher = Watcher(application)
    (application.state_dir / "journal.db").write_text("x")
    assert watcher.changes() == ()


def flow(filters: str = "", job: str = "{runs-on: x, steps: [{run: echo}]}") -> str:
    return f"on: {{push: {{{filters}}}}}\njobs:\n  build: {job}\n"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (("src/a.py",), ["all", "caller", "source"]),
        (("docs/a.md",), ["all", "caller"]),
        ((".github/workflows/source.yml",), ["source"]),
        ((".github/workflows/called.yml",), ["caller"]),
        ((".github/workflows/source.yml", "docs/a.md"), ["all", "caller", "source"]),
    ],
)
def test_a_change_affects_what_its_paths_and_texts_concern(
    checkout: Checkout, changed: tuple[str, ...], expected: list[str]
) -> None:
    checkout.workflow(flow(), "all.yml")
    checkout.workflow(flow("paths: ['src/**']"), "source.yml")
    checkout.workflow(flow(job="{uses: ./.github/workflows/called.yml}"), "caller.yml")
    checkout.workflow("on: workflow_call\njobs:\n  a: {runs-on: x, steps: [{run: echo}]}\n", "called.yml")
    checkout.commit()
    selection = affected(open_application(checkout), Request(), changed, cwd=checkout.path, remote=no_remote)
    assert [Path(item.loaded.workflow.path).stem for item in selection.triggered] == expected
