"""Releases for environments of type docker: the test application in an image that an engine built."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.delivery.local.containers import LABEL, ContainerRunner
from akashic.delivery.releases import Release
from akashic.images.engine import engine_image
from tests.delivery.conftest import APP, MIGRATE, World

DOCKER = """
environments:
  staging:
    target:
      type: docker
      start_timeout_s: 20
      drain_timeout_s: 3
      env: {DATA: "${data}"}
    strategy: {settle_s: 0}
    health: {path: /api/health, interval_s: 0.1, timeout_s: 1}
    smoke:
      - {name: front page, path: /}
"""
DOCKERFILE = """
FROM akashic-test/base:1
COPY . /app
WORKDIR /app
ENV HOST=0.0.0.0
EXPOSE 3000
USER 1001:1001
CMD ["python3", "app.py"]
"""


class Built:
    """Images of the test application, each built and taken out of the engine once for all tests: that is 200
    MB each time."""

    def __init__(self, engine: Engine, layout: Path) -> None:
        self.engine = engine
        self.layout = layout
        self._digests: dict[str, str] = {}

    def digest(self, version: str, ways: dict[str, Any]) -> str:
        files = {
            "Dockerfile": DOCKERFILE,
            "app.py": APP.replace('"/app/ways.json".replace("/app", os.getcwd())', '"/app/ways.json"'),
            "migrate.py": MIGRATE,
            "ways.json": json.dumps({"version": version, **ways}),
        }
        context = _tar(files)
        name = f"akashic-test/delivered:{hashlib.sha256(context).hexdigest()[:16]}-{os.getpid()}"
        if name not in self._digests:
            self.engine.images.build(
                [context], tags=[name], say=lambda line: None, cancellation=Cancellation()
            )
            self._digests[name] = str(engine_image(self.engine, name, self.layout)["digest"])
        return self._digests[name]

    def close(self) -> None:
        for name in self._digests:
            self.engine.images.remove(name, force=True)


class DockerWorld(World):
    """A world whose releases are images that an engine built."""

    def __init__(self, folder: Path, built: Built, text: str = DOCKER) -> None:
        super().__init__(folder, text)
        self.engine = built.engine
        self.built = built

    def release(self, version: str, *, ref: str = "refs/heads/main", **ways: Any) -> Release:
        return self.releases.register(
            layout=self.built.layout,
            digest=self.built.digest(version, ways),
            version=version,
            commit=version.rjust(40, "c"),
            created_by="eve",
            ref=ref,
        )

    def containers(self) -> list[str]:
        """The containers of this world."""
        mark = str(self.state_dir.resolve())
        return [found.id for found in self.engine.containers.list(labels=[f"{LABEL}={mark}"])]

    def close(self) -> None:
        super().close()
        left = self.containers()
        for container in left:
            self.engine.containers.remove(container)
        assert left == [], "a container was left behind"
        mine = ContainerRunner(str(self.state_dir.resolve()), os.environ).repository
        assert not self.engine.images.list(reference=f"{mine}:*"), "an image was left behind"


def _tar(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()
