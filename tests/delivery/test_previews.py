"""Previews: an environment for each branch, until its branch or its time is over."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from akashic.delivery.config_file import parse_config
from akashic.delivery.previews import Previews
from akashic.delivery.service import Origin
from akashic.delivery.slugs import SLUG_CHARACTERS_MAX, slug_of
from akashic.errors import UsageError
from akashic.source.position import InvalidInput
from tests.delivery.memory_world import MemoryWorld

MEMORY = """
environments:
  preview:
    url: http://${slug}.preview.example.org
    preview: {ttl_hours: 2}
    target: {type: memory}
    strategy: {settle_s: 0}
    branches: ['feature/**']
"""
LOCAL = """
environments:
  preview:
    url: http://${slug}.preview.localhost:PORT
    preview: {ttl_hours: 1}
    target: {port: PORT, env: {URL: "${url}", DATA: "${data}"}, start_timeout_s: 8, drain_timeout_s: 1}
    strategy: {settle_s: 0}
    health: {path: /api/health, interval_s: 0.1, timeout_s: 1}
"""
HOUR_S = 3600.0


@pytest.fixture
def memory(tmp_path: Path) -> MemoryWorld:
    return MemoryWorld(tmp_path, MEMORY)


def previews(world) -> Previews:
    return Previews(world.deployments)


def deploy(world, version: str, branch: str):
    release = world.release(version, ref=f"refs/heads/{branch}")
    name = previews(world).name_of("preview", release, Origin(by="eve"))
    return world.deploy(release, name)


@pytest.mark.parametrize(
    ("branch", "slug"),
    [("feature/x", "feature-x"), ("main", "main"), ("feature/a/b", "feature-a-b"), ("a-1", "a-1")],
)
def test_a_branch_whose_name_fits_keeps_it(branch: str, slug: str) -> None:
    assert slug_of(branch) == slug


@pytest.mark.parametrize(
    "branch", ["Feature/X", "feature/x_1", "feature/" + "x" * 60, "ü", "-", "a/../b", "."]
)
def test_another_name_becomes_a_label_that_differs_from_the_plain_one(branch: str) -> None:
    slug = slug_of(branch)
    assert 0 < len(slug) <= SLUG_CHARACTERS_MAX
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug[0] != "-" and slug[-1] != "-"
    assert slug != slug_of(branch.lower() + "x")


def test_each_branch_gets_an_environment_of_its_own(memory: MemoryWorld) -> None:
    for version, branch in (("1.0", "feature/x"), ("2.0", "feature/y")):
        assert deploy(memory, version, branch).status == "promoted"
    found = previews(memory).all()
    assert [(one.name, one.branch, one.version) for one in found] == [
        ("preview/feature-x", "feature/x", "1.0"),
        ("preview/feature-y", "feature/y", "2.0"),
    ]
    assert memory.config.environment("preview/feature/x").url == "http://feature-x.preview.example.org"


def test_the_branch_policy_of_the_template_holds(memory: MemoryWorld) -> None:
    found = deploy(memory, "1.0", "hotfix/x")
    assert (found.status, "refuses 'hotfix/x'" in found.reason) == ("rejected", True)


def test_a_preview_is_not_taken_by_another_branch_with_the_same_slug(memory: MemoryWorld) -> None:
    deploy(memory, "1.0", "feature/x")
    with pytest.raises(UsageError, match="is the preview of the branch feature/x, not of feature-x"):
        deploy(memory, "2.0", "feature-x")


def test_the_template_itself_is_no_environment(memory: MemoryWorld) -> None:
    with pytest.raises(UsageError, match="has an environment for each branch"):
        memory.deployments.request("preview", memory.release(), Origin(by="eve"))


def test_a_preview_whose_time_is_over_is_removed_and_its_branch_may_come_again(memory: MemoryWorld) -> None:
    deploy(memory, "1.0", "feature/x")
    memory.clock.advance(1.5 * HOUR_S)
    deploy(memory, "2.0", "feature/y")
    assert previews(memory).sweep(by="eve") == []
    memory.clock.advance(1 * HOUR_S)
    assert previews(memory).sweep(by="eve") == ["preview/feature-x"]
    assert previews(memory).sweep(by="eve") == []
    assert [one.name for one in previews(memory).all()] == ["preview/feature-y"]
    assert "preview/feature-x" not in memory.deployments.known()
    with pytest.raises(UsageError, match="nothing was deployed"):
        memory.deployments.request_start("preview/feature-x", Origin(by="eve"))
    assert deploy(memory, "3.0", "feature/x").request.number == 2


@pytest.mark.parametrize("word", ["feature/x", "feature-x", "preview/feature-x", "Preview/feature/x"])
def test_a_preview_is_found_by_its_branch_its_slug_and_its_name(memory: MemoryWorld, word: str) -> None:
    deploy(memory, "1.0", "feature/x")
    assert previews(memory).find(word) == "preview/feature-x"
    with pytest.raises(UsageError, match="there is no preview 'feature/z'"):
        previews(memory).find("feature/z")


def test_a_preview_that_is_being_deployed_is_not_removed(memory: MemoryWorld) -> None:
    release = memory.release("1.0", ref="refs/heads/feature/x")
    memory.deployments.request("preview/feature-x", release, Origin(by="eve"))
    with pytest.raises(UsageError, match="a deployment to preview/feature-x is under way"):
        previews(memory).remove("preview/feature-x", by="eve", reason="")
    memory.clock.advance(10 * HOUR_S)
    assert previews(memory).sweep(by="eve") == []


def test_a_template_without_a_slug_in_its_host_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"needs \$\{slug\} in its host name"):
        parse_config(MEMORY.replace("${slug}.preview", "preview"))


def asked(port: int, host: str, path: str = "/") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_previews_share_a_port_and_are_told_apart_by_their_host_names(world):
    from akashic.delivery.local.ports import free_port

    port = free_port()
    world.configure(LOCAL.replace("PORT", str(port)))
    for version, branch in (("1.0", "feature/x"), ("2.0", "feature/y")):
        found = deploy(world, version, branch)
        assert found.status == "promoted", found.reason
        assert found.url == f"http://{slug_of(branch)}.preview.localhost:{port}"
    x, y = (f"feature-{letter}.preview.localhost:{port}" for letter in "xy")
    assert (asked(port, x), asked(port, y)) == ((200, "1.0"), (200, "2.0"))
    assert asked(port, x, "/env/URL")[1] == f"http://{x}"
    for stranger in ("feature-z.preview.localhost", "..", "../../1", "127.0.0.1", ""):
        assert asked(port, stranger)[0] in (400, 404), stranger
    data = Path(asked(port, x, "/env/DATA")[1])
    assert data.is_dir()

    previews(world).remove("preview/feature-x", by="eve", reason="its branch is gone")
    assert (asked(port, x)[0], asked(port, y)) == (404, (200, "2.0"))
    assert not data.exists()
    previews(world).remove("preview/feature-y", by="eve", reason="its branch is gone")
    with pytest.raises(ConnectionRefusedError):
        asked(port, y)


def test_a_preview_is_updated_in_place_and_survives_its_supervisor(world):
    import os
    import signal

    from akashic.delivery.local.ports import free_port

    port = free_port()
    world.configure(LOCAL.replace("PORT", str(port)))
    deploy(world, "1.0", "feature/x")
    os.kill(world.client.ask({"op": "ping"}), signal.SIGKILL)
    host = f"feature-x.preview.localhost:{port}"
    assert asked(port, host) == (200, "1.0")
    assert deploy(world, "2.0", "feature/x").status == "promoted"
    assert asked(port, host) == (200, "2.0")
    assert len(previews(world).all()) == 1
