"""Terminal escapes in names and logs are shown, not sent (CVE-2021-25743); no door repeats a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.cli.present.texts import label, log_text, shown_log
from tests.cli.cli_process import Cli, steps

controls = st.text(
    st.characters(max_codepoint=0xA0) | st.sampled_from("\u202e\u2066\u200f\x1b[m;0]"), max_size=40
)


@given(controls)
def test_attack_38_no_control_character_of_a_name_reaches_the_terminal(text: str) -> None:
    shown = label(text)
    assert all(character == " " or character.isprintable() or character == "\xa0" for character in shown)


@given(controls)
def test_attack_38_of_a_log_only_colours_reach_a_terminal_and_nothing_a_file(text: str) -> None:
    assert "\x1b" not in shown_log(text, color=False)
    for line in shown_log(text, color=True).split("\n"):
        for part in line.split("\x1b")[1:]:
            assert part.startswith("[") and part.lstrip("[0123456789;:").startswith("m")
        assert "\x1b" not in line or line.endswith("\x1b[0m")
    assert "\x07" not in (log_text(f"##[error]{text}") or "")


@pytest.mark.parametrize("argv", [["-s", "TOKEN=hunter2-Zq81"], ["--secret-file", "s.env"]])
def test_a_secret_that_is_given_is_in_nothing_that_is_kept_or_shown(tmp_path: Path, argv: list[str]) -> None:
    cli = Cli(tmp_path / "shop", tmp_path / "home")
    cli.workflow(steps("echo ${{ secrets.TOKEN }}; exit 1", more="    name: ${{ secrets.TOKEN }}\n"))
    cli.commit()
    (cli.path / ".git" / "info" / "exclude").write_text("s.env\n")
    cli.write("s.env", "TOKEN='hunter2-Zq81'\n")
    shown = "".join(result.stdout + result.stderr for result in (cli("run", *argv), cli("logs"), cli("runs")))
    assert "hunter2-Zq81" not in shown
    assert b"hunter2-Zq81" not in cli.journal_bytes
