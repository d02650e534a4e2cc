"""What the tests of the composition root share."""

from __future__ import annotations

from pathlib import Path

import pytest

from akashic.app.application import Application
from tests.app.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A git checkout with no commit yet."""
    return Checkout(tmp_path / "shop")


@pytest.fixture
def application(checkout: Checkout, tmp_path: Path) -> Application:
    """The parts for a checkout with one workflow and one commit."""
    checkout.workflow()
    checkout.commit()
    return Application.open(checkout.path, {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
