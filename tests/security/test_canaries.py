"""Rows 17, 20 and 32 of the known attacks: a run does all it can to have its secrets stored and shown, then
every byte that it left is searched for them, in every form."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tests.cli.cli_process import Cli
from tests.e2e.small_shop import SmallShop

GIVEN = 'canary-G1ven+7/"quoted\\slash" & <tag> é'
FILED = "canary-F1led-line-one+/\ncanary-F1led-line-two=?\n"
MASKED = "canary-M4sked-at-run-time+/=5"
CANARIES = {"GIVEN": GIVEN, "FILED": FILED.strip(), "MASKED": MASKED}
PRINT_ALL = """
import base64, binascii, html, json, os, sys, time, urllib.parse
for name in ("GIVEN", "FILED", "MASKED"):
    value = os.environ[name]
    data = value.encode()
    print("raw", value)
    print("stderr", value, file=sys.stderr)
    for pad in ("", "x", "xy"):
        print("base64", base64.b64encode(pad.encode() + data + b"tail").decode())
        print("base64url", base64.urlsafe_b64encode(pad.encode() + data + b"tail").decode())
    print("json", json.dumps({"key": value}), json.dumps({"key": value}, ensure_ascii=False))
    for quote in (urllib.parse.quote, urllib.parse.quote_plus):
        print("url", quote(value), quote(value, safe=""))
    print("hex", data.hex(), data.hex().upper())
    print("xml", html.escape(value))
    for part in value:
        sys.stdout.write(part)
        sys.stdout.flush()
    print()
    print("::error title=" + value.splitlines()[0] + ",file=a.py,line=1::" + urllib.parse.quote(value))
    print("::warning::" + value.splitlines()[0])
    print("::group::" + value.splitlines()[0])
    print("::endgroup::")
    print("::debug::" + value.splitlines()[0])
"""
KEEP_ALL = """
for value in "$GIVEN" "$MASKED"; do
  echo "out=$value" >> "$GITHUB_OUTPUT"
  echo "KEPT=$value" >> "$GITHUB_ENV"
  echo "$value" >> "$GITHUB_PATH"
  echo "state=$value" >> "$GITHUB_STATE"
  echo "# $value" >> "$GITHUB_STEP_SUMMARY"
done
printf 'many<<END\\n%s\\nEND\\n' "$FILED" >> "$GITHUB_OUTPUT"
printf '%s' "$FILED" | base64 -w0 >> "$GITHUB_STEP_SUMMARY"
echo "<testsuite name='s' tests='1' failures='1'><testcase name='n $MASKED' classname='c'>" > report.xml
echo "<failure message='$MASKED'>$MASKED</failure></testcase></testsuite>" >> report.xml
"""


def workflow() -> str:
    """One job that tries everything; two more that see what it handed on."""
    run = json.dumps
    upload = "actions/upload-artifact@v4"
    return f"""
name: leak
on: push
env: {{GIVEN: "${{{{ secrets.GIVEN }}}}", FILED: "${{{{ secrets.FILED }}}}"}}
jobs:
  leak:
    runs-on: ubuntu-latest
    outputs: {{out: "${{{{ steps.keep.outputs.out }}}}", many: "${{{{ steps.keep.outputs.many }}}}"}}
    steps:
      - run: {run('echo "::add-mask::$(printf %s "$HALF-at-run-time+/=5")"')}
        env: {{HALF: canary-M4sked}}
      - run: {run('echo "MASKED=$HALF-at-run-time+/=5" >> "$GITHUB_ENV"')}
        env: {{HALF: canary-M4sked}}
      - run: {run(PRINT_ALL)}
        shell: python
      - {{id: keep, run: {run(KEEP_ALL)}}}
      - {{name: "uses ${{{{ secrets.GIVEN }}}}", run: {run('echo "${{ steps.keep.outputs.out }} $KEPT"')}}}
      - {{run: {run('ls "/nowhere/$MASKED" "/nowhere/$FILED"')}, continue-on-error: true}}
      - {{run: {run("set -x; test $MASKED = no")}, continue-on-error: true}}
      - {{uses: {upload}, with: {{name: report, path: report.xml}}, continue-on-error: true}}
      - {{uses: {upload}, with: {{name: "a-${{{{ env.MASKED }}}}", path: none}}, continue-on-error: true}}
      - {{uses: {upload}, with: {{name: b, path: "none-${{{{ env.MASKED }}}}"}}, continue-on-error: true}}
      - {{run: "exit ${{{{ secrets.GIVEN }}}}"}}
  handed:
    needs: leak
    if: always()
    runs-on: ubuntu-latest
    steps: [{{run: {run("echo '${{ toJSON(needs) }}'")}}}]
"""


def forms(value: str) -> Iterator[bytes]:
    """What a shell or a library commonly makes of a value and of each of its lines. Base64 at an offset
    without its edges, which depend on what stands beside it."""
    for text in {value, *value.splitlines()}:
        data = text.encode()
        yield data
        for ascii_only in (True, False):
            yield json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()
        for quoted in (
            urllib.parse.quote(text),
            urllib.parse.quote(text, safe=""),
            urllib.parse.quote_plus(text),
        ):
            yield quoted.encode()
        yield data.hex().encode()
        yield data.hex().upper().encode()
        yield escape(text, {'"': "&quot;", "'": "&#x27;"}).encode()
        for offset in range(3):
            encoded = base64.b64encode(b"x" * offset + data).rstrip(b"=")
            inner = encoded[4 if offset else 0 : -2]
            yield inner
            yield inner.replace(b"+", b"-").replace(b"/", b"_")


def found_in(content: bytes) -> list[str]:
    return [
        f"{name} as {form!r}" for name, value in CANARIES.items() for form in forms(value) if form in content
    ]


def stored(state_dir: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below the state folder but the content that a user uploaded, and every name."""
    for path in state_dir.rglob("*"):
        yield path, str(path).encode()
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if not content.startswith(b"<testsuite name='s'"):
                yield path, content


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "shop", tmp_path / "home")


def test_attack_17_no_stored_or_shown_byte_holds_a_secret_in_any_form(cli: Cli) -> None:
    cli.workflow(workflow())
    assert cli("secret", "init").returncode == 0
    assert cli("secret", "set", "FILED", given=FILED).returncode == 0
    cli.commit()
    shown = ""
    for mode in ((), ("--json",), ("--debug",)):
        result = cli(*mode, "run", "-s", "GIVEN", "--step-debug", env={"GIVEN": GIVEN})
        assert result.returncode == 1, result.stdout + result.stderr
        shown += result.stdout + result.stderr
    assert shown.count("***") > 100, shown
    for command in (
        ("logs", "1"),
        ("runs",),
        ("--json", "runs"),
        ("journal", "show"),
        ("journal", "export"),
        ("artifact", "list"),
    ):
        result = cli(*command)
        shown += result.stdout + result.stderr
    assert found_in(shown.encode()) == []
    leaks = {
        str(path): found for path, content in stored(cli.path / ".akashic") if (found := found_in(content))
    }
    assert leaks == {}


def test_the_search_would_find_what_it_searches_for(tmp_path: Path) -> None:
    env = {**os.environ, **CANARIES}
    printed = subprocess.run(
        [sys.executable, "-c", PRINT_ALL], env=env, capture_output=True, check=True
    ).stdout
    for line in printed.splitlines():
        kind = line.split(b" ")[0].decode(errors="replace")
        if kind in ("raw", "base64", "base64url", "json", "url", "hex", "xml"):
            assert found_in(line), line


@pytest.mark.slow
def test_the_last_words_of_a_release_are_kept_without_its_secrets(tmp_path: Path) -> None:
    shop = SmallShop(tmp_path, production=False)
    try:
        config = (shop.path / "akashic.yaml").read_text()
        secret = 'env: {TOKEN: "${secrets.TOKEN}", '
        shop.write("akashic.yaml", config.replace("env: {", secret))
        shop.write("app.py", "import os, sys\nprint('token', os.environ['TOKEN'])\nsys.exit(3)\n")
        assert shop("secret", "init").returncode == 0
        assert shop("secret", "set", "TOKEN", given=MASKED).returncode == 0
        shop.release()
        result = shop("up")
        assert result.returncode == 1
        assert "token ***" in result.stdout, result.stdout
        shown = result.stdout + result.stderr + shop("history", "staging").stdout
        shown += shop("--json", "history", "staging").stdout + shop("logs").stdout
        assert found_in(shown.encode()) == []
        # What a release prints itself is in its own log, as it printed it; nothing else holds it.
        own_logs = shop.state_dir / "environments" / "staging" / "logs"
        leaks = {
            str(p) for p, content in stored(shop.state_dir) if found_in(content) and own_logs not in p.parents
        }
        assert leaks == set()
    finally:
        shop.close()
