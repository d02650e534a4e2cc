"""Folders of closed jobs are removed beside the work."""

import subprocess
import sys
from pathlib import Path

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
