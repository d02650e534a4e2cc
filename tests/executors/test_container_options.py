"""Which image stands for a label, and jobs that stay on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.executors.container_options import HOST_IMAGE, ContainerOptions, MixedExecutor, image_for
from akashic.executors.protocol import ContainerSpec, SandboxSpec, Tree, Unsupported
from akashic.executors.scripted import ScriptedExecutor

OPTIONS = ContainerOptions(images={"ubuntu-latest": "node:20", "metal": HOST_IMAGE})


def test_the_first_label_that_is_mapped_wins_whatever_its_case() -> None:
    assert image_for(("self-hosted", "Ubuntu-Latest", "metal"), OPTIONS) == "node:20"


def test_no_image_is_guessed() -> None:
    with pytest.raises(Unsupported, match="no image stands for `runs-on: windows-latest, x64`") as caught:
        image_for(("windows-latest", "x64"), OPTIONS)
    assert "-P windows-latest=IMAGE" in caught.value.hint and "akashic.yaml" in caught.value.hint


def test_jobs_of_a_label_that_means_this_machine_run_here(tmp_path: Path) -> None:
    containers = ScriptedExecutor(str(tmp_path / "containers"), containers=True)
    host = ScriptedExecutor(str(tmp_path / "host"))
    executor = MixedExecutor(containers, host, OPTIONS)

    def open_(key: str, label: str, container: ContainerSpec | None = None) -> None:
        tree = Tree(root=str(tmp_path), commit="0" * 40)
        spec = SandboxSpec(
            run_id="r",
            job_key=key,
            attempt=1,
            repository="o/a",
            tree=tree,
            labels=(label,),
            container=container,
        )
        executor.open(spec, cancellation=Cancellation())

    open_("image", "ubuntu-latest")
    open_("here", "metal")
    open_("container", "metal", ContainerSpec(image="alpine"))
    assert (containers.opened, host.opened) == (["image", "container"], ["here"])
    assert executor.capabilities.docker_actions
    with pytest.raises(Unsupported):
        open_("other", "windows-latest")
