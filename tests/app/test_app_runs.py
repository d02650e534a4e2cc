"""The record that begins a run, and how people name runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from akashic.app.application import Application
from akashic.app.history import load_state
from akashic.app.runs import create, find_run, workflow_digest
from akashic.app.selection import Request, no_remote, select
from akashic.engine.events import JobFilter
from akashic.errors import UsageError
from tests.app.checkout import CI, Checkout, on, open_application


def test_a_run_s_first_record_says_what_will_run(application: Application) -> None:
    request = Request(vars={"LEVEL": "1"}, actor="grace", filter=JobFilter(jobs=("build",)), jobs_max=3)
    selection = select(application, request, cwd=application.root, remote=no_remote)
    run_id = create(application, request, selection, selection.triggered[0])
    created = load_state(application, run_id).created
    assert (created.number, created.sequence, created.actor) == (1, 1, "grace")
    assert (created.commit, created.dirty) == (application.repository.commit, False)
    assert created.vars["LEVEL"] == "1"
    assert created.workflow_sha256 == workflow_digest(selection.triggered[0].loaded)
    assert created.github["run_id"] == run_id
    assert created.trust == "trusted"
    assert run_id.isdigit() and int(run_id) < 2**53


def test_a_fork_s_run_is_marked_as_such(checkout: Checkout) -> None:
    checkout.workflow(on("pull_request"))
    checkout.commit()
    application = open_application(checkout)
    request = Request(payload={"pull_request": {"head": {"repo": {"full_name": "mallory/shop"}}}})
    selection = select(application, request, cwd=checkout.path, remote=no_remote)
    run_id = create(application, request, selection, selection.triggered[0])
    assert load_state(application, run_id).created.trust == "fork"


def test_numbers_count_for_each_workflow_and_for_the_repository(checkout: Checkout) -> None:
    checkout.workflow()
    checkout.workflow(CI, "other.yml")
    checkout.commit()
    application = open_application(checkout)
    selection = select(application, Request(), cwd=checkout.path, remote=no_remote)
    found = []
    for item in (*selection.triggered, *selection.triggered):
        created = load_state(application, create(application, Request(), selection, item)).created
        found.append((Path(created.workflow_path).stem, created.number, created.sequence))
    assert found == [("ci", 1, 1), ("other", 1, 2), ("ci", 2, 3), ("other", 2, 4)]


def test_the_digest_changes_with_every_file_that_is_called(application: Application) -> None:
    selection = select(application, Request(), cwd=application.root, remote=no_remote)
    loaded = selection.triggered[0].loaded
    digests = {
        workflow_digest(replace(loaded, sources=sources))
        for sources in ({"a": "b"}, {"a": "bc"}, {"ab": "c"}, {"a": "b", "c": ""}, {"a": "b", "": "c"})
    }
    assert len(digests) == 5


def test_runs_are_found_by_number_by_id_and_as_the_newest(application: Application) -> None:
    with pytest.raises(UsageError, match="there is no run yet"):
        find_run(application, "")
    selection = select(application, Request(), cwd=application.root, remote=no_remote)
    ids = [create(application, Request(), selection, selection.triggered[0]) for _ in range(5)]
    assert [find_run(application, str(number)) for number in range(1, 6)] == ids
    assert find_run(application, "#2") == ids[1]
    assert find_run(application, ids[0]) == ids[0]
    assert {find_run(application, word) for word in ("", "last", "latest")} == {ids[4]}
    for word in ("6", "0", "99999", "abc", "²", "-1"):
        with pytest.raises(UsageError, match="there is no run"):
            find_run(application, word)
