"""What the README says first, as written: a fresh clone, `make up`, `make down`.

It takes minutes, needs the addresses that campaign-console is known by, and installs packages (from the
user's own cache where they are there).
"""

from __future__ import annotations

import pytest

from akashic.delivery.local.ports import is_free
from tests.e2e.fresh_clone import ADDRESSES, Clone, health


def served_commit(environment: str) -> str:
    return health(environment)["commit"]


@pytest.mark.slow
def test_a_fresh_clone_is_delivered_again_rolled_back_and_stopped(clone: Clone) -> None:
    first = clone.commit()
    said = clone("make", "up")
    for environment in ("staging", "production"):
        assert f"http://127.0.0.1:{ADDRESSES[environment]}" in said
        assert served_commit(environment) == first
    assert "succeeded" in said and first[:7] in said
    assert "rollback production" not in said  # There is nothing to go back to yet.

    second = clone.change("Change nothing")
    assert "rollback production" in clone("make", "up")
    assert served_commit("staging") == served_commit("production") == second

    clone.akashic("rollback", "production")
    assert (served_commit("production"), served_commit("staging")) == (first, second)
    clone.akashic("journal", "verify")

    clone("make", "down")
    assert clone.processes() == []
    assert all(is_free(port) for port in ADDRESSES.values())
