"""A checkout whose commit is not the pushed one is built under the name of the pushed one."""

import subprocess
from pathlib import Path

from akashic.images.source import find_source, recognise


def test_a_checkout_with_a_commit_of_its_own_is_recognised_by_its_files(tmp_path: Path) -> None:
    def git(folder: Path, *argv: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        argv = ("git", *identity, *argv)
        done = subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    top, checkout = tmp_path / "top", tmp_path / "checkout"
    for folder in (top / "service", checkout):
        folder.mkdir(parents=True)
        (folder / "main.py").write_text("print(1)\n")
    for folder in (top, checkout):
        git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", folder.name)
    origin = find_source(top / "service", dirty=False)
    assert recognise(find_source(checkout), origin) == origin
    (checkout / "main.py").write_text("print(2)\n")
    dirty = recognise(find_source(checkout), origin)
    assert (dirty.dirty, dirty.commit, dirty.root) == (True, origin.commit, str(checkout))
    git(checkout, "commit", "-q", "-a", "-m", "other")
    other = find_source(checkout)
    assert recognise(other, origin) == other
