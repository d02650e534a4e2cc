"""Messages with their place."""

from __future__ import annotations

import pytest

from akashic.source.position import Position, placed

HERE = Position("ci.yml", 3, 5)


@pytest.mark.parametrize(
    ("message", "position", "shown"),
    [
        ("no such folder", HERE, "ci.yml:3:5: no such folder"),
        ("action.yml:7:1: no such folder", HERE, "action.yml:7:1: no such folder"),
        ("my file.yml:7:1: wrong", HERE, "my file.yml:7:1: wrong"),
        ("port 1:2:3 is taken", HERE, "ci.yml:3:5: port 1:2:3 is taken"),
        ("first\nother.yml:7:1: second", HERE, "ci.yml:3:5: first\nother.yml:7:1: second"),
        ("no such folder", Position("ci.yml"), "no such folder"),
    ],
)
def test_a_message_names_one_place(message: str, position: Position, shown: str) -> None:
    assert placed(message, position) == shown
