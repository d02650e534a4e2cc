"""Folders of closed jobs are removed beside the work."""

import subprocess
import sys
from pathlib import Path

from akashic.executors.host.marker import OWNER_FILE
from akashic.executors.host.removing import Remover


def _filled(folder: Path) -> str:
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").write_text("x")
    return str(folder)


def test_what_was_handed_over_is_gone_after_the_end(tmp_path: Path) -> None:
    remover = Remover()
    for turn in range(3):
        for number in range(5):
            remover.remove(_filled(tmp_path / f"{turn}-{number}"))
        remover.finish()
        assert list(tmp_path.iterdir()) == []


def test_a_thread_that_nobody_waits_for_hands_over_to_one_that_is_waited_for(tmp_path: Path) -> None:
    program = (
        "import sys, threading; from akashic.executors.host.removing import Remover\n"
        "thread = threading.Thread(target=Remover().remove, args=(sys.argv[1],), daemon=True)\n"
        "thread.start(); thread.join()"
    )
    folder = _filled(tmp_path / "job")
    subprocess.run([sys.executable, "-c", program, folder], check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_forgets_to_finish_ends_and_leaves_nothing(tmp_path: Path) -> None:
    program = "import sys; from akashic.executors.host.removing import Remover; Remover().remove(sys.argv[1])"
    folder = _filled(tmp_path / "job")
    # A worker that waited for more to do would keep the process for ever.
    subprocess.run([sys.executable, "-c", program, folder], check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []


ORDER = """
import sys
from akashic.executors.host.sandbox_folder import remove_folder
sys.addaudithook(lambda name, given: print(given[0]) if name in ("os.remove", "os.rmdir") else None)
remove_folder(sys.argv[1])
"""


def test_the_owner_of_a_folder_goes_last(tmp_path: Path) -> None:
    folder = Path(_filled(tmp_path / "job"))
    # Who is killed in the middle leaves a folder that is known to be a dead process's, which can be swept.
    for name in ("a", OWNER_FILE, "z"):
        (folder / name).write_text("x")
    told = subprocess.run(
        [sys.executable, "-c", ORDER, str(folder)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    names = [name.rpartition("/")[2] for name in told]
    assert sorted(names) == sorted(["a", "below", "file", "job", OWNER_FILE, "z"])
    assert names[-2:] == [OWNER_FILE, "job"]
