"""What `akashic run` loads: its start is most of the time of a small workflow."""

from tests.cli.cli_process import Cli, steps

ROOMS = (
    "akashic.containers",
    "akashic.delivery",
    "akashic.executors.docker",
    "akashic.executors.providers",
    "akashic.images",
    "akashic.notify",
    "akashic.secrets",
    "akashic.toolkit",
)
"""Rooms that a run on this machine needs only for what is not in a small workflow. Their names may be known
(the package), nothing in them is loaded."""
LIBRARIES = (
    "akashic.server",
    "asyncio",
    "cryptography",
    "dataclasses",
    "difflib",
    "email",
    "http",
    "multiprocessing",
    "ssl",
    "tempfile",
    "unittest",
    "urllib.request",
    "zipfile",
)


def loaded(cli: Cli, *argv: str) -> set[str]:
    """The modules that a command imports, as Python tells them."""
    ended = cli(*argv, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.returncode == 0, ended.stderr
    told = (line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if "import time:" in line)
    return {name for name in told if name != "imported package"}


def test_a_run_on_this_machine_loads_only_what_it_needs(cli: Cli) -> None:
    cli.workflow(steps("echo hi"))
    cli.commit()
    names = loaded(cli, "run")
    assert {"akashic.runner.job", "akashic.journal.sqlite"} <= names
    assert sorted(name for name in names if name.startswith(tuple(f"{room}." for room in ROOMS))) == []
    assert sorted(name for name in names if name.split(".")[0] in LIBRARIES or name in LIBRARIES) == []


def test_the_version_costs_no_more_than_python(cli: Cli) -> None:
    names = loaded(cli, "--version")
    assert {name for name in names if name.startswith("akashic.")} <= {
        "akashic.cli",
        "akashic.cli.argv",
        "akashic.cli.warm",
        "akashic.cli.warm.client",
        "akashic.cli.warm.place",
    }
