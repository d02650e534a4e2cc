"""GitHub's own packages against the services, in JavaScript actions, run by `akashic run`."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

ROUND_TRIP = {
    "v3": """
          fs.mkdirSync('out/deep', {recursive: true})
          fs.writeFileSync('out/a.txt', 'alpha '.repeat(5000))
          fs.writeFileSync('out/deep/b.bin', Buffer.alloc(100000, 7))
          fs.writeFileSync('out/empty', '')
          const files = ['out/a.txt', 'out/deep/b.bin', 'out/empty'].map(f => process.cwd() + '/' + f)
          const up = await artifact.uploadArtifact('thing', files, process.cwd() + '/out')
          if (up.failedItems.length) throw new Error('failed: ' + up.failedItems)
          await artifact.downloadArtifact('thing', process.cwd() + '/back')
    """,
    "v4": """
          fs.mkdirSync('out/deep', {recursive: true})
          fs.writeFileSync('out/a.txt', 'alpha '.repeat(5000))
          fs.writeFileSync('out/deep/b.bin', Buffer.alloc(100000, 7))
          fs.writeFileSync('out/empty', '')
          const files = ['out/a.txt', 'out/deep/b.bin', 'out/empty'].map(f => process.cwd() + '/' + f)
          const up = await artifact.uploadArtifact('thing', files, process.cwd() + '/out')
          const {artifacts} = await artifact.listArtifacts({latest: true})
          if (artifacts.length != 1 || artifacts[0].id !== up.id) throw new Error(JSON.stringify(artifacts))
          const {artifact: found} = await artifact.getArtifact('thing')
          if (found.digest !== 'sha256:' + up.digest) throw new Error(JSON.stringify(found))
          const into = {path: process.cwd() + '/back', expectedHash: found.digest}
          const down = await artifact.downloadArtifact(found.id, into)
          if (down.digestMismatch) throw new Error('digest')
    """,
}
ROUND_TRIP["v6"] = ROUND_TRIP["v4"]


def workflow(script: str, rest: str = "", **job: str) -> str:
    extra = "".join(f"    {name}: {value}\n" for name, value in job.items())
    return f"""
on: push
jobs:
  build:
    runs-on: ubuntu-latest
{extra}    steps:
      - uses: actions/checkout@v4
      - uses: ./.github/actions/probe
        with:
          script: |
{textwrap.indent(textwrap.dedent(script), " " * 12)}
{rest}
"""


@pytest.mark.parametrize("generation", ["v3", "v4", "v6"])
def test_artifacts_go_up_and_down_and_are_ours(checkout: Callable[[str], Any], generation: str) -> None:
    house = checkout(generation)
    house.commit(
        workflow(
            ROUND_TRIP[generation],
            """
      - run: diff -r out back
      - uses: actions/download-artifact@v4
        with: {name: thing, path: ours}
      - run: diff -r out ours
""",
        )
    )
    house.akashic("run", "push")
    (listed,) = [json.loads(line) for line in house.akashic("--json", "artifact", "list").splitlines()]
    assert (listed["name"], listed["files"], listed["bytes"]) == ("thing", 3, 130000)
    house.akashic("artifact", "get", "thing", "-o", "fetched")
    assert (house.root / "fetched" / "deep" / "b.bin").read_bytes() == b"\7" * 100000


@pytest.mark.parametrize("generation", ["v4", "v6"])
def test_what_our_action_keeps_the_package_finds_replaces_and_deletes(
    checkout: Callable[[str], Any], generation: str
) -> None:
    house = checkout(generation)
    house.commit(
        workflow(
            """
          fs.writeFileSync('own.txt', 'ours')
    """,
            """
      - uses: actions/upload-artifact@v4
        with: {name: own, path: own.txt}
      - uses: ./.github/actions/probe
        with:
          script: |
            const {artifact: found} = await artifact.getArtifact('own')
            await artifact.downloadArtifact(found.id, {path: process.cwd() + '/back'})
            if (fs.readFileSync('back/own.txt', 'utf8') !== 'ours') throw new Error('content')
            let refused = ''
            try { await artifact.uploadArtifact('own', [process.cwd() + '/own.txt'], process.cwd()) }
            catch (error) { refused = error.message }
            if (!refused.includes('already exists')) throw new Error('not refused: ' + refused)
            const gone = await artifact.deleteArtifact('own')
            if (gone.id !== found.id) throw new Error('deleted ' + gone.id)
            fs.writeFileSync('own.txt', 'theirs')
            const own = [process.cwd() + '/own.txt']
            await artifact.uploadArtifact('own', own, process.cwd(), {retentionDays: 2})
      - uses: actions/download-artifact@v4
        with: {name: own, path: replaced}
      - run: test "$(cat replaced/own.txt)" = theirs
""",
        )
    )
    house.akashic("run", "push")
    (listed,) = [json.loads(line) for line in house.akashic("--json", "artifact", "list").splitlines()]
    assert 86400 < listed["expires_at"] - listed["created_at"] <= 2 * 86400 + 60


def test_one_file_without_an_archive(checkout: Callable[[str], Any]) -> None:
    house = checkout("v6")
    house.commit(
        workflow(
            """
          fs.writeFileSync('résumé 100%.txt', 'plain')
          const files = [process.cwd() + '/résumé 100%.txt']
          const up = await artifact.uploadArtifact('ignored', files, process.cwd(), {skipArchive: true})
          await artifact.downloadArtifact(up.id, {path: process.cwd() + '/back'})
          if (fs.readFileSync('back/résumé 100%.txt', 'utf8') !== 'plain') throw new Error('content')
    """,
            """
      - uses: actions/download-artifact@v4
        with: {name: résumé 100%.txt, path: ours}
      - run: test "$(cat 'ours/résumé 100%.txt')" = plain
""",
        )
    )
    house.akashic("run", "push")


CACHE = """
          fs.mkdirSync('deps', {recursive: true})
          fs.writeFileSync('deps/x', 'kept '.repeat(10000))
          const missing = await cache.restoreCache(['deps'], 'deps-1', ['deps-'])
          if (missing) throw new Error('found ' + missing)
          const id = await cache.saveCache(['deps'], 'deps-1')
          if (!(id > 0)) throw new Error('saved as ' + id)
          fs.rmSync('deps', {recursive: true})
          const hit = await cache.restoreCache(['deps'], 'deps-2', ['deps-'])
          if (hit !== 'deps-1') throw new Error('hit ' + hit)
          if (fs.readFileSync('deps/x', 'utf8').length !== 50000) throw new Error('content')
          const again = await cache.saveCache(['deps'], 'deps-1')
          if (again !== -1) throw new Error('saved twice: ' + again)
"""


@pytest.mark.parametrize("generation", ["v3", "v4", "v6"])
def test_caches_are_saved_found_by_prefix_and_never_changed(
    checkout: Callable[[str], Any], generation: str
) -> None:
    house = checkout(generation)
    house.commit(workflow(CACHE))
    house.akashic("run", "push")
    (listed,) = [json.loads(line) for line in house.akashic("--json", "cache", "list").splitlines()]
    assert (listed["key"], listed["scope"]) == ("deps-1", "refs/heads/main")
    house.akashic("cache", "rm", "deps-1")
    assert house.akashic("--json", "cache", "list") == ""


@pytest.mark.parametrize("generation", ["v4", "v6"])
def test_an_id_token_is_signed_with_the_key_that_is_published(
    checkout: Callable[[str], Any], generation: str
) -> None:
    pytest.importorskip("cryptography", reason="ID tokens need the package cryptography")
    house = checkout(generation)
    house.commit(
        workflow(
            """
          const token = await core.getIDToken('sts.example.test')
          const decode = part => JSON.parse(Buffer.from(part, 'base64url'))
          const [head, claims] = token.split('.').slice(0, 2).map(decode)
          const issuer = claims.iss
          const about = await (await fetch(issuer + '/.well-known/openid-configuration')).json()
          const {keys} = await (await fetch(about.jwks_uri)).json()
          const crypto = await import('node:crypto')
          const key = crypto.createPublicKey({key: keys.find(k => k.kid === head.kid), format: 'jwk'})
          const signed = token.slice(0, token.lastIndexOf('.'))
          const good = crypto.verify('RSA-SHA256', signed, key, Buffer.from(token.split('.')[2], 'base64url'))
          if (!good) throw new Error('signature')
          if (about.issuer !== issuer || head.alg !== 'RS256') throw new Error('documents')
          fs.writeFileSync('claims.json', JSON.stringify(claims))
          console.log('shown: ' + token)
    """,
            """
      - run: test -n "$ACTIONS_ID_TOKEN_REQUEST_URL" && test -z "$ACTIONS_RUNTIME_TOKEN"
      - uses: actions/upload-artifact@v4
        with: {name: claims, path: claims.json}
""",
            permissions="{id-token: write, contents: read}",
            environment="staging",
        )
    )
    house.akashic("run", "push")
    house.akashic("artifact", "get", "claims")
    claims = json.loads((house.root / "claims" / "claims.json").read_text())
    assert claims["aud"] == "sts.example.test"
    assert claims["sub"] == "repo:octo/app:environment:staging"
    assert claims["repository"] == "octo/app" and claims["runner_environment"] == "self-hosted"
    assert claims["job_workflow_ref"] == "octo/app/.github/workflows/ci.yml@refs/heads/main"
    key = house.home / ".config" / "akashic" / "oidc-key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    logs = b"".join(path.read_bytes() for path in (house.root / ".akashic").rglob("*") if path.is_file())
    assert b"eyJhbGciOiJSUzI1NiI" not in logs, "a token stands in what was stored"


def test_a_token_that_is_printed_is_stored_nowhere(checkout: Callable[[str], Any]) -> None:
    house = checkout("v4")
    house.commit(
        workflow(
            """
          const token = process.env.ACTIONS_RUNTIME_TOKEN
          console.log('plain ' + token)
          console.log('base64 ' + Buffer.from(token).toString('base64'))
          console.log(JSON.stringify(process.env))
          core.notice('noticed ' + token)
          core.setOutput('token', token)
    """
        )
    )
    output = house.akashic("run", "push")
    stored = b"".join(path.read_bytes() for path in (house.root / ".akashic").rglob("*") if path.is_file())
    assert "plain ***" in output
    for text in (output.encode(), stored):
        # A token's first part, and the same in base64.
        assert b"eyJhbGciOiJIUzI1NiI" not in text and b"ZXlKaGJHY2lPaUpJVXpJMU5pS" not in text


def test_a_plain_run_starts_without_a_word_of_the_services(checkout: Callable[[str], Any]) -> None:
    house = checkout("v4")
    house.commit(
        "on: push\njobs:\n  build:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo hello\n"
    )
    output = house.akashic("run", "push", environ={"PYTHONPROFILEIMPORTTIME": "1"})
    assert "akashic.runner.job" in output
    assert "akashic.toolkit" not in output and "cryptography" not in output


def test_a_plain_run_step_is_told_of_no_service(checkout: Callable[[str], Any]) -> None:
    house = checkout("v4")
    house.commit(
        """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - run: "! env | grep '^ACTIONS_'"
"""
    )
    house.akashic("run", "push")


def test_our_own_github_script_can_ask_for_an_id_token(checkout: Callable[[str], Any]) -> None:
    pytest.importorskip("cryptography", reason="ID tokens need the package cryptography")
    house = checkout("v4")
    house.commit(
        """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    permissions: {id-token: write}
    steps:
      - uses: actions/github-script@v7
        with:
          script: |
            const token = await core.getIDToken('me')
            const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))
            console.log('subject ' + claims.sub + ' for ' + claims.aud)
"""
    )
    assert "subject repo:octo/app:ref:refs/heads/main for me" in house.akashic("run", "push")


BIG = """
          const crypto = await import('node:crypto')
          const sum = file => crypto.createHash('sha256').update(fs.readFileSync(file)).digest('hex')
          fs.mkdirSync('big')
          fs.writeFileSync('big/noise', crypto.randomBytes(CACHE_BYTES))
          fs.writeFileSync('noise', crypto.randomBytes(ARTIFACT_BYTES))
          const before = [sum('big/noise'), sum('noise')]
          const files = [process.cwd() + '/noise']
          await artifact.uploadArtifact('big', files, process.cwd(), {compressionLevel: 0})
          const id = await cache.saveCache(['big'], 'big')
          if (!(id > 0)) throw new Error('saved as ' + id)
          fs.rmSync('big', {recursive: true})
          if (!await cache.restoreCache(['big'], 'big')) throw new Error('no cache')
          if (sum('big/noise') !== before[0]) throw new Error('cache')
          const {artifact: found} = await artifact.getArtifact('big')
          await artifact.downloadArtifact(found.id, {path: process.cwd() + '/back'})
          if (sum('back/noise') !== before[1]) throw new Error('artifact')
"""


@pytest.mark.parametrize("generation", ["v4", "v6"])
def test_what_the_azure_client_sends_in_blocks_comes_back_as_it_was(
    checkout: Callable[[str], Any], generation: str
) -> None:
    house = checkout(generation)
    # From 128 MiB on a cache is sent in blocks; an artifact is from 8 MiB on.
    sizes = {"CACHE_BYTES": 130 << 20, "ARTIFACT_BYTES": 20 << 20}
    house.commit(workflow(re.sub("|".join(sizes), lambda found: str(sizes[found[0]]), BIG)))
    house.akashic("run", "push")


def test_a_fork_s_run_reads_caches_and_writes_none(checkout: Callable[[str], Any]) -> None:
    house = checkout("v6")
    script = """
          fs.mkdirSync('deps', {recursive: true})
          fs.writeFileSync('deps/x', 'x')
          const id = await cache.saveCache(['deps'], 'deps-' + process.env.GITHUB_EVENT_NAME)
          const asked = process.env.ACTIONS_ID_TOKEN_REQUEST_URL ? 'yes' : 'no'
          console.log('saved as ' + id + ', tokens: ' + asked)
          fs.writeFileSync('deps/y', process.env.GITHUB_REF)
          await artifact.uploadArtifact('report', [process.cwd() + '/deps/y'], process.cwd())
          console.log('found ' + await cache.restoreCache(['deps'], 'deps-push'))
    """
    text = workflow(script, permissions="{id-token: write}").replace("on: push", "on: [push, pull_request]")
    house.commit(text)
    assert "tokens: yes" in house.akashic("run", "push")
    repository = {"full_name": "octo/app", "default_branch": "main"}
    event = {
        "number": 7,
        "repository": repository,
        "pull_request": {
            "number": 7,
            "head": {"ref": "evil", "repo": {"full_name": "evil/app", "fork": True}},
            "base": {"ref": "main", "repo": repository},
        },
    }
    (house.home / "event.json").write_text(json.dumps(event))
    output = house.akashic("run", "pull_request", "-e", str(house.home / "event.json"))
    assert "saved as -1, tokens: no" in output and "cache write denied" in output
    assert "found deps-push" in output
    (kept,) = [json.loads(line) for line in house.akashic("--json", "cache", "list").splitlines()]
    assert kept["key"] == "deps-push"


@pytest.mark.parametrize("generation", ["v3", "v4", "v6"])
def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    checkout: Callable[[str], Any], generation: str
) -> None:
    house = checkout(generation)
    proxies = "{http_proxy: 'http://127.0.0.2:9', HTTPS_PROXY: 'http://127.0.0.2:9', no_proxy: example.test}"
    script = """
          if (!process.env.no_proxy.startsWith('example.test,')) throw new Error(process.env.no_proxy)
          fs.writeFileSync('f', 'x')
          await artifact.uploadArtifact('direct', [process.cwd() + '/f'], process.cwd())
    """
    house.commit(workflow(script, env=proxies))
    house.akashic("run", "push")
