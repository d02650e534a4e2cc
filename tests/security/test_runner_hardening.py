"""Attacks on the runner that happened elsewhere, as tests. The numbers are rows of the list of attacks."""

from __future__ import annotations

import base64
import shutil
import subprocess
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from akashic.runner.actions.cache import ActionCache
from akashic.runner.actions.lockfile import ActionMovedError
from akashic.runner.commands import Effects
from akashic.runner.files import apply_file
from akashic.runner.parts import Stop
from akashic.runner.reports import NoReportError, read_sarif, read_xml
from akashic.runner.terminal import safe_for_terminal
from akashic.runner.variables import without_loader_variables
from tests.runner.conftest import House


@pytest.fixture
def house(tmp_path: Path) -> Any:
    folder = tmp_path / "house"
    folder.mkdir()
    return House(folder)


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


# 3: CVE-2020-15228, CVE-2026-34041
@pytest.mark.parametrize(
    "command", ["::set-env name=EVIL::1", "::add-path::/tmp/evil", "##[set-env name=EVIL]1"]
)
def test_attack_3_output_never_changes_environment_or_path(house: Any, command: str) -> None:
    outcome = house.run(
        f"- {{run: \"echo '{command}'\", id: a}}\n- {{if: always(), run: 'echo \"[$EVIL] $PATH\"'}}"
    )
    assert outcome.step("a").outcome == "failure"
    assert "command is disabled" in outcome.log
    assert not [line for line in outcome.log.splitlines() if line.startswith("[1]") or "/tmp/evil:" in line]


def test_attack_3_output_changes_the_environment_only_when_the_user_allows_it(house: Any) -> None:
    outcome = house.run(
        """
        env: {ACTIONS_ALLOW_UNSECURE_COMMANDS: "true"}
        steps:
          - run: echo '::set-env name=WANTED::1'; echo '::set-env name=NODE_OPTIONS::x'
          - run: echo "[$WANTED] [$NODE_OPTIONS]"
        """
    )
    assert "[1] []" in outcome.log.splitlines()


# 4: CVE-2022-35954
@pytest.mark.parametrize("content", ["GOOD=1\nbroken\n", "GOOD=1\nX<<EOF\nEVIL=1\n", "GOOD=1\n=x\n"])
def test_attack_4_a_malformed_environment_file_fails_the_step_and_sets_nothing(
    house: Any, content: str
) -> None:
    import json

    outcome = house.run(
        f"""
        - id: a
          env: {{CONTENT: {json.dumps(content)}}}
          run: printf '%s' "$CONTENT" > $GITHUB_ENV
        - {{if: always(), run: 'echo "[$GOOD] [$EVIL]"'}}
        """
    )
    assert outcome.step("a").outcome == "failure"
    assert "Unable to process file command 'env' successfully." in outcome.log
    assert "[] []" in outcome.log.splitlines()


def test_attack_4_a_value_that_holds_the_delimiter_of_another_sets_nothing_else() -> None:
    effects, errors = Effects(), []
    content = b"TITLE<<R4ND0M\nx\nEOF\nEVIL=1\nR4ND0M\n"
    apply_file("env", content, effects, error=errors.append, mask=str)
    assert effects.env == {"TITLE": "x\nEOF\nEVIL=1"} and not errors


# 5
def test_attack_5_loader_variables_do_not_reach_what_the_runner_runs_for_itself() -> None:
    env = {"LD_PRELOAD": "x", "ld_audit": "x", "NODE_OPTIONS": "x", "BASH_ENV": "x", "GIT_SSH_COMMAND": "x",
           "GIT_CONFIG_KEY_0": "x", "PYTHONPATH": "x", "BASH_FUNC_ls%%": "x",
           "PATH": "/bin", "HOME": "/h"}  # fmt: skip
    assert without_loader_variables(env) == {"PATH": "/bin", "HOME": "/h"}


def test_attack_5_loader_variables_reach_the_users_own_steps(house: Any) -> None:
    outcome = house.run("- run: echo 'BASH_ENV=/dev/null' >> $GITHUB_ENV\n- run: echo \"[$BASH_ENV]\"")
    assert "[/dev/null]" in outcome.log.splitlines()


def test_attack_5_fetching_an_action_ignores_the_environment_of_git(house: Any, tmp_path: Path) -> None:
    evil = tmp_path / "evil.sh"
    evil.write_text(f'#!/bin/sh\ntouch {tmp_path}/owned\nexec "$@"\n')
    evil.chmod(0o755)
    _publish(house, "octo/a", "runs: {using: composite, steps: [{run: echo x, shell: bash}]}\n")
    environ = {
        "PATH": "/usr/bin:/bin",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": str(evil),
        "GIT_SSH_COMMAND": str(evil),
    }
    cache = ActionCache(tmp_path / "cache", server_url=f"file://{house.server}", environ=environ)
    from akashic.runner.actions.uses import RepositoryUse

    cache.fetch(RepositoryUse("octo", "a", "", "v1"))
    assert not (tmp_path / "owned").exists()


# 9: CVE-2021-41077
def test_attack_9_a_fork_gets_no_secrets_whatever_the_frames_say(house: Any) -> None:
    from akashic.engine.requests import SecretFrame

    house.secrets[""] = {"TOKEN": "hunter2hunter2", "GITHUB_TOKEN": "ghs_token_value"}
    outcome = house.run(
        "- run: 'echo \"[${{ secrets.TOKEN }}${{ github.token }}${{ secrets.GITHUB_TOKEN }}]\"; env'",
        trust="fork",
        secret_frames=(SecretFrame(mapping="inherit", contexts={}),),
        environment="production",
    )
    assert "[]" in outcome.log.splitlines()
    assert "hunter2" not in outcome.log and "ghs_token" not in outcome.log


# 17: CVE-2025-24362
def test_attack_17_no_secret_is_in_any_stored_byte(house: Any) -> None:
    canary = "canary-7f3a91c2e5"
    house.secrets[""] = {"CANARY": canary}
    outcome = house.run(
        """
        steps:
          - name: Deploy with ${{ env.CANARY }}
            run: |
              echo "$CANARY"; echo "::error title=$CANARY,file=$CANARY::$CANARY"; echo "::notice::$CANARY"
              echo "# $CANARY" >> $GITHUB_STEP_SUMMARY
              echo "out=$CANARY" >> $GITHUB_OUTPUT
              echo "<testsuite name='$CANARY'><testcase/></testsuite>" > "junit-$CANARY.xml"
              printf '%s' "$CANARY" | base64; printf '%s' "$CANARY" | od -An -tx1 | tr -d ' \\n'; echo
              echo "bad line $CANARY" >> $GITHUB_ENV
          - if: always()
            working-directory: /nowhere/${{ env.CANARY }}
            run: echo x
          - if: always()
            uses: ./missing
        outputs: {out: "${{ toJSON(steps) }}${{ secrets.CANARY }}"}
        environment: {name: e, url: "https://example.test/${{ env.CANARY }}"}
        env: {CANARY: "${{ secrets.CANARY }}"}
        """
    )
    import msgspec

    told = msgspec.json.encode([outcome.result, outcome.recorder.reports]).decode()
    shown = "\n".join(text for _, text in outcome.recorder.shown) + str(outcome.recorder.started)
    stored = b"".join(path.read_bytes() for path in house.state.rglob("*") if path.is_file()).decode(
        "utf-8", "replace"
    )
    for form in (canary, canary.encode().hex()):
        for where in (told, shown, stored):
            assert form not in where
    assert "***" in told and "***" in shown


def _publish(house: Any, name: str, metadata: str, tag: str = "v1") -> str:
    folder = house.server / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "action.yml").write_text(metadata)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.test"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    if not (folder / ".git").exists():
        git("init", "-q")
        git("config", "uploadpack.allowAnySHA1InWant", "true")
    git("add", "-A")
    git("commit", "-q", "--allow-empty", "-m", "x")
    git("tag", "-f", tag)
    return git("rev-parse", "HEAD")


# 18: CVE-2025-30066, CVE-2026-33634
def test_attack_18_a_moved_tag_stops_the_run(house: Any) -> None:
    composite = "runs: {{using: composite, steps: [{{run: echo {}, shell: bash}}]}}\n"
    first = _publish(house, "octo/a", composite.format("good"))
    _lock(house, {"octo/a@v1": first})
    assert "good" in house.run("- uses: octo/a@v1").log.splitlines()
    _publish(house, "octo/a", composite.format("evil"))
    outcome = house.run("- uses: octo/a@v1")
    assert "good" in outcome.log.splitlines() and "evil" not in outcome.log
    shutil.rmtree(house.folder / "actions")
    outcome = house.run("- uses: octo/a@v1")
    assert outcome.result.conclusion == "failure"
    assert "Somebody moved the tag" in outcome.log and "echo evil" not in outcome.log
    with pytest.raises(ActionMovedError):
        house.resolver().resolve("octo/a@v1")


def test_attack_18_an_action_that_the_lock_file_does_not_know_does_not_run(house: Any) -> None:
    inner = _publish(
        house, "octo/inner", "runs: {using: composite, steps: [{run: echo inner, shell: bash}]}\n"
    )
    outer = _publish(house, "octo/outer", "runs: {using: composite, steps: [{uses: octo/inner@v1}]}\n")
    _lock(house, {"octo/outer@v1": outer})
    outcome = house.run("- uses: octo/outer@v1")
    assert outcome.result.conclusion == "failure"
    assert "octo/inner@v1: not in akashic.lock" in outcome.result.reason
    _lock(house, {"octo/outer@v1": outer, "octo/inner@v1": inner})
    assert house.run("- uses: octo/outer@v1").result.conclusion == "success"


def _lock(house: Any, pins: dict[str, str]) -> None:
    from akashic.runner.actions.lockfile import LOCK_PATH, LockFile

    LockFile(house.root / LOCK_PATH, pins).write()


# 24: CVE-2024-41121
@needs_node
def test_attack_24_a_path_of_the_users_does_not_shadow_the_node_that_runs_actions(house: Any) -> None:
    folder = house.server / "octo/js"
    folder.mkdir(parents=True)
    (folder / "main.js").write_text("console.log('the real node')")
    _publish(house, "octo/js", "runs: {using: node20, main: main.js}\n")
    outcome = house.run(
        """
        - run: |
            mkdir evil && printf '#!/bin/sh\\necho shadowed\\n' > evil/node && chmod +x evil/node
            echo "$PWD/evil" >> $GITHUB_PATH
        - uses: octo/js@v1
        """
    )
    lines = outcome.log.splitlines()
    assert "the real node" in lines and "shadowed" not in lines


def test_attack_34_command_files_that_were_replaced_by_links_are_not_followed(
    house: Any, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("STOLEN=1\n")
    outcome = house.run(
        f"""
        - run: rm -f $GITHUB_ENV && ln -s {outside} $GITHUB_ENV
        - run: rm -f $GITHUB_OUTPUT && mkfifo $GITHUB_OUTPUT
        - run: rm -rf "$(dirname $GITHUB_ENV)"
        - run: echo "[$STOLEN]"; echo "AFTER=1" >> $GITHUB_ENV
        - run: echo "after [$AFTER]"
        """
    )
    assert outcome.result.conclusion == "success", outcome.log
    assert "[]" in outcome.log.splitlines() and "after [1]" in outcome.log.splitlines()
    assert outside.read_text() == "STOLEN=1\n"


# 36: CVE-2024-32002
def test_attack_36_hooks_and_submodules_of_an_action_never_run(house: Any, tmp_path: Path) -> None:
    folder = house.server / "octo/hooked"
    hooks = folder / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/owned\n")
    (hooks / "post-checkout").chmod(0o755)
    (folder / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ../inner\n')
    _publish(house, "octo/hooked", "runs: {using: composite, steps: [{run: echo ok, shell: bash}]}\n")
    assert house.run("- uses: octo/hooked@v1").result.conclusion == "success"
    assert not (tmp_path / "owned").exists()


# 38: CVE-2021-25743
def test_attack_38_terminal_escapes_in_logs_are_shown_and_only_colours_are_sent() -> None:
    text = "\x1b[1;31mred\x1b[0m \x1b]0;title\x07 \x1b[2J \x9b31m \x08 a\rb \u202e\tend\n"
    safe = safe_for_terminal(text)
    assert safe.startswith("\x1b[1;31mred\x1b[0m ") and safe.endswith("\tend\n")
    rest = safe.replace("\x1b[1;31m", "").replace("\x1b[0m", "")
    assert not [
        c for c in rest if (ord(c) < 32 and c not in "\t\n") or 0x7F <= ord(c) < 0xA0 or c == "\u202e"
    ]


# 43
def test_attack_43_xml_with_entities_and_oversized_sarif_are_refused() -> None:
    bomb = b'<!DOCTYPE t [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><testsuite name="&b;"/>'
    external = b'<!DOCTYPE t SYSTEM "file:///etc/passwd"><testsuite/>'
    for content in (bomb, external, b'<!DOCTYPE coverage [<!ENTITY a "b">]><coverage line-rate="1"/>'):
        with pytest.raises(NoReportError, match="document type"):
            read_xml(content, "x.xml")
    results = b'{"runs":[{"results":[' + b"{}," * 100_001 + b"{}]}]}"
    with pytest.raises(NoReportError, match="more than"):
        read_sarif(results, "x.sarif")
    with pytest.raises(NoReportError):
        read_sarif(b"[" * 200_000, "x.sarif")


FORMS = r"""
import base64, json, os, sys, time, urllib.parse, xml.sax.saxutils
secret = os.environ["T"].encode()
forms = {
    "raw": secret,
    "json": json.dumps(secret.decode())[1:-1].encode(),
    "url": urllib.parse.quote(secret, safe="").encode(),
    "xml": xml.sax.saxutils.escape(secret.decode(), {'"': "&quot;"}).encode(),
    "base64": base64.b64encode(secret),
    "base64+1": base64.b64encode(b"x" + secret),
    "base64+2": base64.b64encode(b"xy" + secret + b"z"),
    "base64url": base64.urlsafe_b64encode(secret),
    "hex": secret.hex().encode(),
    "HEX": secret.hex().upper().encode(),
}
for name, form in forms.items():
    for cut in range(0, len(form), 5):
        os.write(1, f"{name} ".encode() + form[:cut])
        os.write(1, form[cut:] + b" end\n")
"""


def test_attack_20_every_form_of_a_secret_is_hidden_wherever_a_write_ends(house: Any) -> None:
    secret = 'p4ss"word<&>/+é:~?x'
    house.secrets[""] = {"TOKEN": secret}
    outcome = house.run(
        f"""
        env: {{T: "${{{{ secrets.TOKEN }}}}"}}
        steps:
          - shell: python
            run: |
{textwrap.indent(FORMS.strip(), " " * 14)}
        """
    )
    assert outcome.result.conclusion == "success", outcome.log
    lines = [line for line in outcome.log.splitlines() if line.endswith(" end")]
    assert len(lines) > 40
    assert [line for line in lines if "***" not in line] == []
    stored = b"".join(path.read_bytes() for path in house.state.rglob("*") if path.is_file())
    raw = secret.encode()
    for form in (raw, raw.hex().encode(), base64.b64encode(raw)[:16], base64.b64encode(b"x" + raw)[4:16]):
        assert form not in stored


def test_attack_20_secrets_are_masked_in_background_steps_that_write_at_once(house: Any) -> None:
    house.secrets[""] = {"TOKEN": "hunter2hunter2"}
    outcome = house.run(
        """
        env: {T: "${{ secrets.TOKEN }}"}
        steps:
          - parallel:
              - run: for i in $(seq 300); do echo "a $T"; done
              - run: for i in $(seq 300); do echo "b $T"; done
        """
    )
    assert "hunter2" not in outcome.log
    assert outcome.log.splitlines().count("a ***") == 300


def test_a_breakpoint_shows_the_exact_environment_and_its_answer_counts(house: Any) -> None:
    stops: list[Stop] = []
    answers = iter(["retry", "continue"])

    def ask(stop: Stop) -> Any:
        stops.append(stop)
        Path(stop.cwd, "fixed").touch()
        return next(answers)

    house.parts_options |= {"breakpoint": ask, "break_on_failure": True}
    outcome = house.run("- {id: a, run: 'test -e fixed && echo now', env: {X: '1'}}\n- {id: b, run: exit 9}")
    assert outcome.step("a").outcome == "success"
    assert outcome.step("b").outcome == "failure"
    assert [stop.id for stop in stops] == ["a", "b"] and stops[0].env["X"] == "1"
    assert stops[1].reason == "Process completed with exit code 9."


def test_no_thread_is_left_when_a_job_has_ended(house: Any) -> None:
    house.run("- run: echo warm")
    before = threading.active_count()
    house.run("- {background: true, run: sleep 0.05}\n- run: echo x")
    assert threading.active_count() <= before
