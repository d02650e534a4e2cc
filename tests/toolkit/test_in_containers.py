"""Jobs in containers reach the services by the gateway of their network, and nobody else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.docker

WORKFLOW = """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    permissions: {contents: read, id-token: write}
    steps:
      - uses: actions/checkout@v4
      - uses: ./.github/actions/probe
        with:
          script: |
            const host = new URL(process.env.ACTIONS_RESULTS_URL).hostname
            if (host.startsWith('127.') || host === '0.0.0.0') throw new Error('address ' + host)
            fs.writeFileSync('f', 'from a container')
            await artifact.uploadArtifact('boxed', [process.cwd() + '/f'], process.cwd())
            const {artifact: found} = await artifact.getArtifact('boxed')
            await artifact.downloadArtifact(found.id, {path: process.cwd() + '/back'})
            if (fs.readFileSync('back/f', 'utf8') !== 'from a container') throw new Error('content')
            const id = await cache.saveCache(['f'], 'boxed')
            if (!(id > 0)) throw new Error('saved as ' + id)
"""


def test_an_action_in_a_container_keeps_artifacts_and_caches(
    checkout: Callable[[str], Any], base_image: str
) -> None:
    house = checkout("v4")
    house.commit(WORKFLOW)
    house.akashic(
        "run", "push", "--executor", "docker", "-P", f"ubuntu-latest={base_image}", "--pull-policy", "never"
    )
    assert [
        json.loads(line)["name"] for line in house.akashic("--json", "artifact", "list").splitlines()
    ] == ["boxed"]
    assert [json.loads(line)["key"] for line in house.akashic("--json", "cache", "list").splitlines()] == [
        "boxed"
    ]
