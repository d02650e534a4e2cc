"""What `up` takes, that it is alone, and what it finds at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from akashic.app.application import Application
from akashic.app.up import choose, only_one, served
from akashic.delivery.service import Origin
from akashic.errors import AkashicError, UsageError
from tests.app.checkout import Checkout

ON_MAIN = """
    name: ci
    on: {push: {branches: [main]}}
    jobs:
      build:
        runs-on: ubuntu-latest
        steps: [{run: echo built}]
"""


def opened(checkout: Checkout, tmp_path: Path) -> Application:
    return Application.open(checkout.path, {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})


def test_the_branch_that_is_checked_out_is_taken_when_a_workflow_runs_on_it(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.workflow()
    checkout.commit()
    checkout.git("switch", "--quiet", "--create", "feature/x")
    request, selection = choose(opened(checkout, tmp_path), "")
    assert (request.event_name, request.branch, request.from_commit) == ("push", "feature/x", True)
    assert len(selection.triggered) == 1


def test_else_the_branch_that_delivers_is_taken(checkout: Checkout, tmp_path: Path) -> None:
    checkout.workflow(ON_MAIN)
    checkout.commit()
    checkout.git("switch", "--quiet", "--create", "feature/x")
    assert choose(opened(checkout, tmp_path), "")[0].branch == "main"


def test_a_branch_that_is_named_is_the_only_one_that_is_tried(checkout: Checkout, tmp_path: Path) -> None:
    checkout.workflow(ON_MAIN)
    checkout.commit()
    application = opened(checkout, tmp_path)
    assert choose(application, "main")[0].branch == "main"
    with pytest.raises(UsageError, match="no workflow runs on a push") as caught:
        choose(application, "other")
    assert "other: " in caught.value.message
    assert "--branch" in caught.value.hint


def test_up_is_alone_in_its_repository_and_the_next_may_begin(application: Application) -> None:
    busy = pytest.raises(AkashicError, match=r"another `akashic up` is at work .*process \d+")
    with only_one(application), busy, only_one(application):
        raise AssertionError("two at once")
    with only_one(application):
        pass


def test_up_lets_go_when_it_fails(application: Application) -> None:
    with pytest.raises(KeyboardInterrupt), only_one(application):
        raise KeyboardInterrupt
    with only_one(application):
        pass


def test_what_is_served_is_listed_and_the_rest_left_out(checkout: Checkout, tmp_path: Path) -> None:
    checkout.write(
        "akashic.yaml",
        """
        environments:
          staging: {target: {type: memory}, strategy: {settle_s: 0}}
          production: {target: {type: memory}, strategy: {settle_s: 0}}
        """,
    )
    checkout.workflow()
    checkout.commit()
    application = opened(checkout, tmp_path)
    application.say = lambda text: None
    assert served(application) == []
    from akashic.cancellation import Cancellation
    from akashic.delivery.releases import Release

    release = Release(
        id="r", version="1.0", commit="c" * 40, digest="sha256:d", created_by="eve", created_at=1.0
    )
    id_ = application.deployments.request("staging", release, Origin(by="eve"))
    application.deployments.follow("staging", id_, Cancellation())
    (found,) = served(application)
    assert (found.environment, found.url, found.version, found.commit, found.problems) == (
        "staging",
        "memory://staging",
        "1.0",
        "c" * 40,
        (),
    )
