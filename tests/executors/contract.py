# ruff: noqa: PTH110, PTH208
"""What every executor must do; subclass it with an `executor` fixture and a `tree` fixture."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.executors import process
from akashic.executors.protocol import (
    ContainerSpec,
    Executor,
    ExecutorError,
    ExitStatus,
    Sandbox,
    SandboxSpec,
    Tree,
    Unsupported,
)
from tests.waiting import eventually


def git(folder: Path, *arguments: str) -> str:
    """Run git as a test's user."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.org"}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


def make_repository(folder: Path) -> Tree:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "greeting.txt").write_text("hello\n")
    (folder / "tool").write_text("#!/bin/sh\necho tool\n")
    (folder / "tool").chmod(0o755)
    (folder / "below").mkdir()
    (folder / "below" / "inner.txt").write_text("inner\n")
    (folder / ".gitignore").write_text("ignored\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return Tree(root=str(folder), commit=git(folder, "rev-parse", "HEAD"))


def alive_with(mark: str) -> list[str]:
    """Processes of this machine whose command line holds `mark`."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes()
                state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark.encode() in line and state not in "ZX":
                found.append(name)
    return found


class Ran:
    """What a command did."""

    def __init__(self, status: ExitStatus, output: bytes) -> None:
        self.status = status
        self.code = status.code
        self.output = output
        self.text = output.decode(errors="replace")


class ExecutorParts:
    """What tests of an executor are made with."""

    mode = "auto"
    labels: tuple[str, ...] = ()
    image = ""
    """An image with bash that the executor can run, if it runs any."""
    temp_holds: tuple[str, ...] = ()
    """What a new RUNNER_TEMP holds already, as on GitHub."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Tree:
        return make_repository(tmp_path / "repository")

    @pytest.fixture
    def executor(self, tmp_path: Path) -> Executor:
        pytest.skip("a subclass gives the executor")

    def spec(self, tree: Tree, **changes: object) -> SandboxSpec:
        facts = {
            "run_id": "run",
            "job_key": "build",
            "attempt": 1,
            "repository": "ada/demo",
            "mode": self.mode,
            "labels": self.labels,
        }
        return SandboxSpec(tree=tree, **{**facts, **changes})  # type: ignore[arg-type]

    @pytest.fixture
    def sandbox(self, executor: Executor, tree: Tree) -> Iterator[Sandbox]:
        sandbox = executor.open(self.spec(tree), cancellation=Cancellation())
        yield sandbox
        sandbox.close()

    def run(self, sandbox: Sandbox, script: str, **options: object) -> Ran:
        chunks: list[bytes] = []
        facts = {
            "env": sandbox.base_env,
            "cwd": sandbox.workspace,
            "cancellation": Cancellation(),
            "on_output": chunks.append,
        }
        status = sandbox.exec(["bash", "-c", script], **{**facts, **options})  # type: ignore[arg-type]
        return Ran(status, b"".join(chunks))


class ExecutorContract(ExecutorParts):
    """Tests of `akashic.executors.protocol`; they need bash and coreutils in the sandbox."""

    def test_the_exit_code_is_the_command_s(self, sandbox: Sandbox) -> None:
        assert [self.run(sandbox, f"exit {code}").code for code in (0, 1, 42, 255)] == [0, 1, 42, 255]

    def test_a_signal_gives_128_and_its_number(self, sandbox: Sandbox) -> None:
        assert self.run(sandbox, "kill -9 $$").code == 137

    def test_both_outputs_arrive_merged_in_order(self, sandbox: Sandbox) -> None:
        ran = self.run(sandbox, "for i in 1 2 3; do echo out$i; echo err$i >&2; done")
        assert ran.text == "out1\nerr1\nout2\nerr2\nout3\nerr3\n"

    def test_output_arrives_while_the_command_runs(self, sandbox: Sandbox) -> None:
        def answer(chunk: bytes) -> None:
            if b"ready" in chunk:
                sandbox.write(f"{sandbox.temp}/go", b"")

        ran = self.run(
            sandbox,
            f"echo ready; until [ -e {sandbox.temp}/go ]; do sleep 0.01; done; exit 7",
            on_output=answer,
        )
        assert ran.code == 7

    def test_a_command_that_is_not_there_is_127(self, sandbox: Sandbox) -> None:
        chunks: list[bytes] = []
        status = sandbox.exec(
            ["no-such-command"],
            env=sandbox.base_env,
            cwd=sandbox.workspace,
            on_output=chunks.append,
            cancellation=Cancellation(),
        )
        assert status.code == 127
        assert b"no-such-command: command not found" in b"".join(chunks)

    def test_a_file_that_cannot_be_executed_is_126(self, sandbox: Sandbox) -> None:
        sandbox.write(f"{sandbox.workspace}/plain", b"text")
        chunks: list[bytes] = []
        status = sandbox.exec(
            [f"{sandbox.workspace}/plain"],
            env=sandbox.base_env,
            cwd=sandbox.workspace,
            on_output=chunks.append,
            cancellation=Cancellation(),
        )
        assert status.code == 126
        assert b"cannot execute" in b"".join(chunks)

    def test_a_missing_working_directory_is_named(self, sandbox: Sandbox) -> None:
        ran = self.run(sandbox, "true", cwd=f"{sandbox.workspace}/missing")
        assert ran.code == 126
        assert "missing' does not exist" in ran.text

    def test_the_environment_is_exactly_what_was_given(self, sandbox: Sandbox) -> None:
        chunks: list[bytes] = []
        given = {"A": "1", "PATH": "/usr/bin:/bin", "ODD": "ä\nb='c' "}
        sandbox.exec(
            ["env", "-0"],
            env=given,
            cwd=sandbox.workspace,
            on_output=chunks.append,
            cancellation=Cancellation(),
        )
        lines = b"".join(chunks).decode().rstrip("\0").split("\0")
        assert dict(line.split("=", 1) for line in lines) == given

    def test_stdin_is_what_was_given_or_empty(self, sandbox: Sandbox) -> None:
        large = b"x" * 3_000_000
        assert self.run(sandbox, "wc -c", stdin=large).text.strip() == "3000000"
        assert self.run(sandbox, "cat; echo end").text == "end\n"

    def test_bytes_that_are_not_utf_8_arrive_as_they_are(self, sandbox: Sandbox) -> None:
        assert self.run(sandbox, r"printf '\xff\x00\xfe\n'").output == b"\xff\x00\xfe\n"

    def test_one_line_of_a_million_characters(self, sandbox: Sandbox) -> None:
        ran = self.run(sandbox, "head -c 1000000 /dev/zero | tr '\\0' x")
        assert ran.output == b"x" * 1_000_000

    def test_much_output_comes_in_bounded_chunks(self, sandbox: Sandbox) -> None:
        sizes: list[int] = []
        ran = self.run(
            sandbox, "head -c 200000000 /dev/zero", on_output=lambda chunk: sizes.append(len(chunk))
        )
        assert ran.code == 0
        assert sum(sizes) == 200_000_000
        assert max(sizes) <= process.PIPE_BYTES

    def test_a_time_out_ends_the_command_and_its_children(self, sandbox: Sandbox) -> None:
        ran = self.run(sandbox, "sleep 4711.1 & wait", timeout_s=0.2)
        assert ran.status.timed_out and not ran.status.cancelled
        assert not eventually(lambda: alive_with("4711.1"), timeout_s=0.05)

    def test_cancelling_interrupts_first_so_that_a_trap_can_tidy(self, sandbox: Sandbox) -> None:
        cancellation = Cancellation()
        ran = self.run(
            sandbox,
            "trap 'echo tidy; exit 5' INT; echo ready; while :; do sleep 0.02; done",
            cancellation=cancellation,
            on_output=_canceller(cancellation, chunks := []),
        )
        assert ran.status.cancelled and ran.code == 5
        assert b"".join(chunks) == b"ready\ntidy\n"

    def test_what_ignores_interrupts_is_terminated_and_then_killed(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "INTERRUPT_GRACE_S", 0.2)
        monkeypatch.setattr(process, "TERMINATE_GRACE_S", 0.2)
        cancellation = Cancellation()
        ran = self.run(
            sandbox,
            "trap 'echo int' INT; trap 'echo term' TERM; echo ready; while :; do sleep 0.02; done",
            cancellation=cancellation,
            on_output=_canceller(cancellation, chunks := []),
        )
        assert ran.code == 137 and ran.status.cancelled
        said = [line for line in b"".join(chunks).split(b"\n") if line in (b"ready", b"int", b"term")]
        assert said == [b"ready", b"int", b"term"]

    def test_force_kills_at_once(self, sandbox: Sandbox) -> None:
        cancellation = Cancellation()
        ran = self.run(
            sandbox,
            "trap '' INT TERM; echo ready; while :; do sleep 0.02; done",
            cancellation=cancellation,
            on_output=_canceller(cancellation, [], force=True),
        )
        assert ran.code == 137

    def test_nothing_starts_when_it_is_cancelled_already(self, sandbox: Sandbox) -> None:
        cancellation = Cancellation()
        cancellation.cancel(source="user", reason="Ctrl-C")
        ran = self.run(sandbox, "touch started", cancellation=cancellation)
        assert ran.status.cancelled
        assert sandbox.read(f"{sandbox.workspace}/started", bytes_max=1) is None

    def test_a_server_of_one_step_serves_the_next(self, sandbox: Sandbox) -> None:
        self.run(
            sandbox, "(while :; do echo noise; sleep 0.01; [ -e stop ] && touch stopped && exit; done) &"
        )
        assert self.run(sandbox, "touch stop; until [ -e stopped ]; do sleep 0.01; done").code == 0

    def test_steps_of_one_job_may_run_at_the_same_time(self, sandbox: Sandbox) -> None:
        results: list[int] = []
        threads = [
            threading.Thread(
                target=lambda n=n: results.append(
                    self.run(
                        sandbox, f"touch {n}; until [ -e 0 ] && [ -e 1 ] && [ -e 2 ]; do sleep 0.01; done"
                    ).code
                )
            )
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [0, 0, 0]

    def test_files_go_in_and_out(self, sandbox: Sandbox) -> None:
        path = f"{sandbox.workspace}/a/b/script"
        sandbox.write(path, b"#!/bin/sh\necho ran\n", executable=True)
        assert self.run(sandbox, "a/b/script").text == "ran\n"
        assert sandbox.read(path, bytes_max=5) == b"#!/bi"
        assert sandbox.read(f"{sandbox.temp}/none", bytes_max=5) is None

    def test_a_checkout_is_the_commit_with_working_git(self, sandbox: Sandbox, tree: Tree) -> None:
        sandbox.materialise(tree, sandbox.workspace, clean=True)
        ran = self.run(
            sandbox, "cat greeting.txt below/inner.txt; ./tool; git rev-parse HEAD; git status -s; git diff"
        )
        assert ran.text == f"hello\ninner\ntool\n{tree.commit}\n"

    def test_a_step_can_rename_a_folder_that_it_made(self, sandbox: Sandbox, tree: Tree) -> None:
        sandbox.materialise(tree, sandbox.workspace, clean=True)
        rename = "import os; os.mkdir('one'); os.rename('one', 'two')"
        assert self.run(sandbox, f'python3 -c "{rename}" && ls -d two').text == "two\n"

    def test_jobs_do_not_share_a_checkout(self, executor: Executor, sandbox: Sandbox, tree: Tree) -> None:
        sandbox.materialise(tree, sandbox.workspace, clean=True)
        self.run(sandbox, "echo changed >> greeting.txt; git commit -qam x || true; rm -r below")
        other = executor.open(self.spec(tree, job_key="other"), cancellation=Cancellation())
        try:
            other.materialise(tree, other.workspace, clean=True)
            assert self.run(other, "cat greeting.txt below/inner.txt; git status -s").text == "hello\ninner\n"
        finally:
            other.close()

    def test_a_second_clean_checkout_removes_what_was_there(self, sandbox: Sandbox, tree: Tree) -> None:
        sandbox.materialise(tree, sandbox.workspace, clean=True)
        self.run(sandbox, "touch new; echo x > greeting.txt")
        sandbox.materialise(tree, sandbox.workspace, clean=True)
        assert self.run(sandbox, "ls; cat greeting.txt").text == "below\ngreeting.txt\ntool\nhello\n"

    def test_a_checkout_that_is_not_clean_keeps_other_files(self, sandbox: Sandbox, tree: Tree) -> None:
        sandbox.write(f"{sandbox.workspace}/kept", b"kept\n")
        sandbox.materialise(tree, sandbox.workspace, clean=False)
        assert self.run(sandbox, "cat kept greeting.txt").text == "kept\nhello\n"

    def test_a_checkout_below_the_workspace(self, sandbox: Sandbox, tree: Tree) -> None:
        sandbox.materialise(tree, f"{sandbox.workspace}/sub/here", clean=True)
        assert self.run(sandbox, "cat sub/here/greeting.txt").text == "hello\n"

    def test_temp_is_empty_and_everything_is_gone_in_the_end(self, executor: Executor, tree: Tree) -> None:
        sandbox = executor.open(self.spec(tree), cancellation=Cancellation())
        assert self.run(sandbox, f"ls -A {sandbox.temp} {sandbox.workspace}").text.split() == [
            f"{sandbox.temp}:",
            *self.temp_holds,
            f"{sandbox.workspace}:",
        ]
        sandbox.close()
        sandbox.close()
        executor.end_run()
        executor.finish()
        assert not os.path.exists(sandbox.temp) and not os.path.exists(sandbox.workspace)

    def test_a_job_in_a_container_is_refused_with_who_can(self, executor: Executor, tree: Tree) -> None:
        if executor.capabilities.job_containers:
            pytest.skip("this executor runs containers")
        with pytest.raises(Unsupported) as caught:
            executor.open(
                self.spec(tree, container=ContainerSpec(image="node:20")), cancellation=Cancellation()
            )
        assert "node:20" in caught.value.message and "docker" in caught.value.hint

    def test_images_run_or_are_refused_with_who_can(self, executor: Executor, sandbox: Sandbox) -> None:
        if not executor.capabilities.docker_actions:
            with pytest.raises(Unsupported) as caught:
                self.run_image(sandbox, "some/image", "true")
            assert "docker" in caught.value.hint
            return
        sandbox.pull_image(self.image, on_output=lambda _: None, cancellation=Cancellation())
        ran = self.run_image(sandbox, self.image, 'pwd; cat; echo "$WORD" > made; echo err >&2; exit 4')
        # An engine copies the two outputs side by side: their order is anyone's guess.
        assert (ran.code, sorted(ran.text.splitlines())) == (
            4,
            sorted([sandbox.image_path(sandbox.workspace), "err"]),
        )
        assert sandbox.read(f"{sandbox.workspace}/made", bytes_max=10) == b"said\n"

    def run_image(self, sandbox: Sandbox, image: str, script: str) -> Ran:
        chunks: list[bytes] = []
        status = sandbox.run_image(
            image,
            entrypoint="bash",
            args=["-c", script],
            env={"WORD": "said"},
            on_output=chunks.append,
            cancellation=Cancellation(),
            timeout_s=60.0,
        )
        return Ran(status, b"".join(chunks))

    def test_a_path_of_nobody_s_is_the_same_for_an_image(self, sandbox: Sandbox) -> None:
        assert sandbox.image_path("/etc/hosts") == "/etc/hosts"

    def test_a_folder_that_is_no_repository_is_named(self, sandbox: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "plain").mkdir()
        with pytest.raises(ExecutorError, match="is not a git repository"):
            sandbox.materialise(
                Tree(root=str(tmp_path / "plain"), commit="a" * 40), sandbox.workspace, clean=True
            )


def _canceller(cancellation: Cancellation, chunks: list[bytes], *, force: bool = False) -> object:
    def on_output(chunk: bytes) -> None:
        chunks.append(chunk)
        if b"ready" in chunk:
            cancellation.cancel(source="user", reason="Ctrl-C", force=force)

    return on_output
