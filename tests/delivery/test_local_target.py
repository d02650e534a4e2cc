"""The local target end to end: real processes behind a real proxy."""

from __future__ import annotations


def test_a_release_is_deployed_and_answers(world, fetch):
    done = world.deploy(world.release("1.0"))
    assert done.status == "promoted", done.reason
    assert fetch(world.url()) == "1.0"


def test_the_release_before_serves_again_after_a_rollback(world, fetch):
    world.deploy(world.release("1.0"))
    world.deploy(world.release("2.0"))
    assert fetch(world.url()) == "2.0"
    done = world.rollback()
    assert done.status == "promoted", done.reason
    assert fetch(world.url()) == "1.0"
