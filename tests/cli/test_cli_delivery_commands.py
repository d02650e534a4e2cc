"""Deliveries as people make them: each command a process of its own, with targets that start nothing."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from tests.cli.cli_process import SOURCES, Cli

PEOPLE = Path(__file__).parent / "people"
CONFIG = """
    image: {name: shop, include: [app.py], command: [python, app.py]}
    environments:
      staging: {target: {type: memory}, strategy: {settle_s: 0}}
      production:
        target: {type: memory}
        strategy: {settle_s: 0}
        approvals: {reviewers: [ann, eve], author_may_approve: false}
        promote_from: [staging]
    """
GATED = """
    name: deliver
    on: push
    jobs:
      ship:
        runs-on: ubuntu-latest
        environment: production
        steps: [{run: echo shipped}]
    """


@pytest.fixture
def shop(cli: Cli) -> Cli:
    """A repository whose user is eve, without a release."""
    cli.env |= as_user("eve")
    cli.write("akashic.yaml", CONFIG)
    cli.write("app.py", "print(1)\n")
    cli.workflow()
    cli.commit()
    return cli


@pytest.fixture
def built(shop: Cli) -> Cli:
    build(shop)
    return shop


def build(shop: Cli, text: str = "") -> str:
    """Commit a change, build it; the release's version."""
    if text:
        shop.write("app.py", f"print({text!r})\n")
        shop.commit(text)
    assert shop("image", "build").returncode == 0
    return shop.git("rev-parse", "HEAD")[:12]


def as_user(name: str) -> dict[str, str]:
    """The environment in which the machine knows the user by this name."""
    return {"PYTHONPATH": f"{PEOPLE}:{SOURCES}", "TEST_LOGIN": name}


def no_times(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "(when)", text)
    text = re.sub(r"\d+\.\d s", "(took)", text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def test_a_release_is_deployed_shown_and_remembered(built: Cli) -> None:
    version = built.git("rev-parse", "HEAD")[:12]
    done = built("deploy", "staging")
    assert (done.returncode, no_times(done.stdout)) == (
        0,
        f"staging: switching traffic\n✓ staging #1: {version} promoted in (took)\nmemory://staging",
    )
    assert f"{version} on staging serves" in done.stderr
    assert no_times(built("status").stdout) == (
        "ENVIRONMENT SERVES COMMIT SINCE ADDRESS STATE\n"
        f"staging {version} {version[:7]} (when) memory://staging healthy\n"
        "production – nothing deployed"
    )
    assert no_times(built("history", "staging").stdout) == (
        "# ENVIRONMENT RELEASE STATUS KIND BY APPROVED BY WHEN TOOK WHY\n"
        f"✓ 1 staging {version} promoted deploy eve – (when) (took)"
    )


def test_a_rollback_goes_to_the_release_before(built: Cli) -> None:
    first = built.git("rev-parse", "HEAD")[:12]
    assert built("deploy", "staging").returncode == 0
    second = build(built, "two")
    assert built("deploy", "staging").returncode == 0
    assert f"goes back to {first}" in built("status", "staging").stdout
    done = built("rollback", "staging", "--reason", "it smells")
    assert done.returncode == 0
    assert f"staging #3: {first} promoted" in done.stdout
    kinds = [(d["kind"], d["version"], d["by"]) for d in built.json("history", "staging")]
    assert kinds == [("rollback", first, "eve"), ("deploy", second, "eve"), ("deploy", first, "eve")]
    again = built("rollback", "staging")
    assert (again.returncode, "no release before the current one" in again.stderr) == (2, True)


def test_a_promotion_waits_for_somebody_else_and_goes_on_with_their_approval(built: Cli) -> None:
    built("deploy", "staging")
    asked = built("promote", "staging", "production", "--no-wait")
    assert (asked.returncode, "production #1" in asked.stdout, "waiting" in asked.stdout) == (0, True, True)
    own = built("approve", "production", "--yes")
    assert (own.returncode, "eve started this deployment and may not approve it" in own.stderr) == (2, True)
    stranger = built("approve", "production", "--yes", env=as_user("bob"))
    assert (stranger.returncode, "bob is not a reviewer of production: ann, eve" in stranger.stderr) == (
        2,
        True,
    )
    assert built.json("status", "production")[0]["serving"] is None
    done = built("approve", "production", "--yes", env=as_user("ann"))
    assert done.returncode == 0
    assert built.git("rev-parse", "HEAD") in done.stdout
    (found,) = built.json("history", "production")
    assert (found["status"], found["approved_by"], found["by"]) == ("promoted", ["ann"], "eve")


def test_a_rejection_ends_a_deployment(built: Cli) -> None:
    built("deploy", "production", "--no-wait")
    done = built("reject", "production", "--yes", "--comment", "not today", env=as_user("ann"))
    assert done.returncode == 0
    (found,) = built.json("history", "production")
    assert (found["status"], found["reason"]) == ("rejected", "not today")


def test_a_review_needs_a_terminal_or_a_yes(built: Cli) -> None:
    built("deploy", "production", "--no-wait")
    done = built("approve", env=as_user("ann"))
    assert (done.returncode, "there is no terminal to ask at" in done.stderr) == (2, True)
    assert built.json("history", "production")[0]["status"] == "waiting"


def test_attack_13_nobody_reviews_under_another_name(built: Cli) -> None:
    built("deploy", "production", "--no-wait")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        done = built("approve", "production", "--yes", env={name: "ann"})
        assert (done.returncode, "eve started this deployment" in done.stderr) == (2, True)


def test_attack_13_the_actor_that_a_run_claims_is_not_who_started_it(built: Cli) -> None:
    (built.path / ".github/workflows/ci.yml").unlink()
    built.workflow(GATED, "deliver.yml")
    built.commit("Deliver")
    run = built.start("run", "push", "--actor", "bob")
    deadline = time.monotonic() + 30
    while "nothing waits" in (own := built("approve", "production", "--yes")).stderr:
        assert time.monotonic() < deadline, own.stderr
        time.sleep(0.1)
    assert (own.returncode, "eve may not approve their own run" in own.stderr) == (2, True)
    assert built("reject", "production", "--yes", env=as_user("ann")).returncode == 0
    run.communicate(timeout=60)


def test_a_step_of_a_job_cannot_review(built: Cli) -> None:
    built("deploy", "production", "--no-wait")
    done = built("approve", "production", "--yes", env={**as_user("ann"), "AKASHIC_JOB": "deploy"})
    assert (done.returncode, "a step of a job cannot review" in done.stderr) == (2, True)


def test_the_gate_of_a_run_is_approved_by_another_than_its_author(built: Cli) -> None:
    (built.path / ".github/workflows/ci.yml").unlink()
    built.workflow(GATED, "deliver.yml")
    built.commit("Deliver")
    run = built.start("run", "push")
    deadline = time.monotonic() + 30
    while "nothing waits" in (own := built("approve", "production", "--yes")).stderr:
        assert time.monotonic() < deadline, own.stderr
        time.sleep(0.1)
    assert (own.returncode, "eve may not approve their own run" in own.stderr) == (2, True)
    (said,) = [
        json.loads(line)
        for line in built("--json", "approve", "production", "--yes", env=as_user("ann")).stdout.splitlines()
    ]
    assert (said["job"], said["approved"], said["by"]) == ("ship", True, "ann")
    stdout, stderr = run.communicate(timeout=60)
    assert run.returncode == 0, stderr
    assert "shipped" in stdout + stderr


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("deploy", "staging"), "there is no release to deploy: there is none yet"),
        (("deploy", "staging", "--release", "9.9"), "there is no release '9.9'"),
        (("rollback", "staging"), "no release before the current one"),
        (("rollback",), "which environment?"),
        (("promote", "staging", "production"), "staging serves nothing that could be promoted"),
        (("promote", "production", "production"), "production takes releases from staging, not from"),
        (("status", "nope"), "there is no environment 'nope'"),
        (("history", "nope"), "there is no environment 'nope'"),
        (("approve",), "nothing waits"),
        (("reject", "production"), "nothing waits"),
    ],
)
def test_what_cannot_be_done_is_a_usage_error(shop: Cli, argv: tuple[str, ...], message: str) -> None:
    done = shop(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_an_environment_that_is_not_there_names_the_nearest(built: Cli) -> None:
    done = built("deploy", "stagin")
    assert done.returncode == 2
    assert "did you mean staging?" in done.stderr


def test_environments_are_listed_with_their_rules(shop: Cli) -> None:
    assert no_times(shop("environments").stdout) == (
        "ENVIRONMENT TARGET BRANCHES APPROVALS CHECKS PROMOTES FROM\n"
        "staging memory all none / + 0 any\n"
        "production memory all 1 of ann, eve, not the author / + 0 staging"
    )
    found = shop.json("environments")
    assert [one["environment"] for one in found] == ["staging", "production"]
    assert found[1]["approvals"] == {"reviewers": ["ann", "eve"], "count": 1, "author_may_approve": False}


def test_the_configuration_is_checked_and_shown(shop: Cli) -> None:
    assert shop("config", "check").stdout == "akashic.yaml is valid: 2 environments\n"
    shown = json.loads(shop("config", "show").stdout)
    strategy = shown["environments"]["staging"]["strategy"]
    assert (strategy["type"], strategy["settle_s"]) == ("blue-green", 0.0)
    schema = json.loads(shop("config", "schema").stdout)
    assert "environments" in json.dumps(schema)
    assert "author_may_approve" in json.dumps(schema)


def test_a_wrong_configuration_is_refused_by_place_and_with_a_guess(shop: Cli) -> None:
    shop.write("akashic.yaml", "environments:\n  staging:\n    targte: {type: memory}\n")
    for argv in (("config", "check"), ("deploy", "staging"), ("environments",)):
        done = shop(*argv)
        assert (done.returncode, done.stdout) == (2, ""), argv
        assert "akashic.yaml:3" in done.stderr
        assert "did you mean 'target'" in done.stderr


def test_no_file_and_no_environments_are_said(cli: Cli, tmp_path: Path) -> None:
    cli.workflow()
    cli.commit()
    assert cli("environments").stdout == "akashic.yaml has no environments yet\n"
    assert cli("history").stdout == "no deployments yet\n"
    assert cli("down").stdout == "nothing runs\n"
    missing = cli("config", "check", "other.yaml")
    assert (missing.returncode, "other.yaml: No such file" in missing.stderr) == (2, True)


def test_json_is_one_object_a_line(built: Cli) -> None:
    (deployed,) = built.json("deploy", "staging")
    assert (deployed["status"], deployed["environment"]) == ("promoted", "staging")
    status = built.json("status")
    assert [one["environment"] for one in status] == ["staging", "production"]
    assert status[0]["serving"]["id"] == deployed["id"]


def test_a_branch_gets_a_preview_that_is_listed_and_removed(shop: Cli) -> None:
    shop.write(
        "akashic.yaml",
        CONFIG
        + """
      preview:
        url: http://${slug}.preview.example.org
        preview: {ttl_hours: 1}
        target: {type: memory}
        strategy: {settle_s: 0}
        """,
    )
    shop.commit("Previews")
    shop.git("switch", "--quiet", "--create", "feature/x")
    version = build(shop)
    assert shop("preview", "list").stdout == "there are no previews\n"
    done = shop("deploy", "preview")
    assert (done.returncode, f"preview/feature-x #1: {version} promoted" in done.stdout) == (0, True)
    (listed,) = shop.json("preview", "list")
    assert (listed["name"], listed["branch"], listed["version"]) == (
        "preview/feature-x",
        "feature/x",
        version,
    )
    assert "preview/feature-x" in shop("status").stdout
    assert shop("preview", "sweep").stdout == ""
    unknown = shop("preview", "rm", "feature/y")
    assert (unknown.returncode, "previews: preview/feature-x" in unknown.stderr) == (2, True)
    assert shop("preview", "rm", "--missing-ok", "feature/y").returncode == 0
    assert shop("preview", "rm", "feature/x").stdout == "preview/feature-x and its data are removed\n"
    assert shop.json("preview", "list") == []
    assert shop("journal", "verify").returncode == 0
