"""actions/github-script with the machine's Node."""

import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest

from akashic.actions.github_script import GITHUB_SCRIPT
from akashic.actions.protocol import ActionFailed

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")


def _outputs(ctx) -> str:
    return (Path(ctx.sandbox.temp) / "file-OUTPUT").read_text()


def test_the_result_is_json_or_text(job) -> None:
    assert '{"a":[1]}' in _outputs(job().use(GITHUB_SCRIPT, script="return {a: [1]}"))
    assert "\nhello\n" in _outputs(
        job().use(GITHUB_SCRIPT, script="return 'hello'", result_encoding="string")
    )


def test_core_exec_glob_io_and_context_are_there(job) -> None:
    ctx = job()
    ctx.env |= {"GITHUB_REPOSITORY": "octo/app", "GITHUB_SHA": "abc"}
    ctx.file("d/x.txt")
    ctx.use(
        GITHUB_SCRIPT,
        script="""
        core.setOutput('repo', `${context.repo.owner}/${context.repo.repo}@${context.sha}`)
        const {stdout} = await exec.getExecOutput('echo', ['a b'])
        core.setOutput('said', stdout.trim())
        const files = await (await glob.create('d/*.txt')).glob()
        core.setOutput('files', files.length)
        core.setOutput('sh', (await io.which('sh', true)).length > 0)
        await core.summary.addHeading('Hi').write()
        core.exportVariable('X', 'multi\\nline')
        core.warning('careful')
        return require('path').basename('/a/b')
        """,
    )
    text = _outputs(ctx)
    for expected in ("octo/app@abc", "\na b\n", "\n1\n", "\ntrue\n", '"b"'):
        assert expected in text
    assert "<h1>Hi</h1>" in (Path(ctx.sandbox.temp) / "file-STEP_SUMMARY").read_text()
    assert "::warning::careful" in "".join(ctx.lines)


@pytest.mark.parametrize("script", ["throw new Error('boom')", "core.setFailed('no')", "this is no script"])
def test_a_failing_script_fails_the_step(job, script: str) -> None:
    with pytest.raises(ActionFailed, match="exit code 1"):
        job().use(GITHUB_SCRIPT, script=script)


def test_the_token_is_not_left_behind_or_in_the_command_line(job) -> None:
    ctx = job().use(GITHUB_SCRIPT, script="return 1", github_token="ghs_tokentoken")
    assert not any("ghs_tokentoken" in word for argv in ctx.commands for word in argv)
    assert not list(Path(ctx.sandbox.temp).glob("_script-*"))


class _Api(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str]] = []  # noqa: RUF012

    def _answer(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(size).decode()
        self.seen.append((f"{self.command} {self.path}", self.headers.get("authorization", ""), body))
        data = json.dumps({"id": 7} if self.command == "POST" else [{"n": 1}]).encode()
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        return


def test_rest_calls_go_to_the_api_with_the_token(job) -> None:
    _Api.seen.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        ctx = job()
        ctx.env |= {
            "GITHUB_REPOSITORY": "octo/app",
            "GITHUB_API_URL": f"http://127.0.0.1:{server.server_address[1]}",
        }
        ctx.use(
            GITHUB_SCRIPT,
            github_token="tok",
            script="""
            const at = {...context.repo, issue_number: 3}
            const made = await github.rest.issues.createComment({...at, body: 'hi'})
            const all = await github.paginate(github.rest.issues.listComments, at)
            let status = 0
            try { await github.request('GET /missing/{x}', {x: 'a b'}) } catch (e) { status = e.status }
            return [made.data.id, all.length, status]
            """,
        )
    finally:
        server.shutdown()
        server.server_close()
    assert "[7,1,404]" in _outputs(ctx)
    assert _Api.seen[0] == ("POST /repos/octo/app/issues/3/comments", "token tok", '{"body":"hi"}')
    assert _Api.seen[2][0] == "GET /missing/a%20b"
