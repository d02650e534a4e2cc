"""The actions of containers, findings, coverage and comments."""

import json
from pathlib import Path

import pytest

from akashic.actions.codecov import CODECOV
from akashic.actions.comment import CREATE_OR_UPDATE
from akashic.actions.docker_build import BUILD_PUSH, engine_command, own_command
from akashic.actions.docker_login import LOGIN
from akashic.actions.docker_setup import SETUP_BUILDX, SETUP_QEMU
from akashic.actions.protocol import ActionFailed, resolve_inputs
from akashic.actions.upload_sarif import UPLOAD_SARIF


def _sarif(**run: object) -> str:
    result = {"ruleId": "R1", "level": "error", "message": {"text": "bad"}}
    body = {"tool": {"driver": {"name": "t"}}, "results": [result], **run}
    return json.dumps({"version": "2.1.0", "runs": [body]})


def test_sarif_is_kept_under_its_category_and_annotated(job) -> None:
    ctx = job()
    ctx.file("r.sarif", _sarif())
    ctx.use(UPLOAD_SARIF, sarif_file="r.sarif", category="/language:python")
    assert [artifact.name for artifact in ctx.artifacts.find_all()] == ["sarif-language-python"]
    assert ctx.annotations == [("error", "bad")]
    assert ctx.outputs["sarif-id"].isdigit()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"runs": 1}', '{"version":"1","runs":[]}', _sarif(tool=1), _sarif(results=1)]
)
def test_what_is_no_sarif_is_refused(job, text: str) -> None:
    ctx = job()
    ctx.file("r.sarif", text)
    with pytest.raises(ActionFailed, match=r"r\.sarif"):
        ctx.use(UPLOAD_SARIF, sarif_file="r.sarif")


def test_coverage_is_kept_and_its_absence_fails_only_when_asked(job) -> None:
    ctx = job()
    assert ctx.use(CODECOV).annotations[0][0] == "warning"
    with pytest.raises(ActionFailed, match="No coverage reports found"):
        job().use(CODECOV, fail_ci_if_error="true")
    ctx.file("coverage.xml")
    ctx.use(CODECOV, flags="unit")
    assert [artifact.name for artifact in ctx.artifacts.find_all()] == ["codecov-unit"]


def test_a_login_stays_in_the_job_and_goes_with_it(job) -> None:
    ctx = job().use(LOGIN, registry="ghcr.io", username="me", password="hunter22")
    config = Path(ctx.env_set["DOCKER_CONFIG"]) / "config.json"
    assert str(config).startswith(ctx.sandbox.temp)
    assert "ghcr.io" in json.loads(config.read_text())["auths"]
    assert config.stat().st_mode & 0o077 == 0
    assert "hunter22" in ctx.masked
    assert LOGIN.post is not None
    LOGIN.post(ctx)
    assert json.loads(config.read_text())["auths"] == {}


def test_setup_actions_tell_the_platforms(job) -> None:
    assert job().use(SETUP_QEMU).outputs["platforms"].startswith("linux/")
    outputs = job().use(SETUP_BUILDX, name="b").outputs
    assert outputs["name"] == "b"
    assert json.loads(outputs["nodes"])[0]["name"] == "b0"


def _inputs(job, **given: str):  # type: ignore[no-untyped-def]
    ctx = job()
    named = {name.replace("_", "-"): value for name, value in given.items()}
    ctx.inputs = resolve_inputs(BUILD_PUSH, named, lambda text: "").values
    return ctx


def test_with_an_engine_a_build_goes_to_buildx_and_secrets_through_files(job) -> None:
    ctx = _inputs(
        job, context="app", tags="a:1\na:2", build_args="X=1, 2", push="true", secrets="token=hunter22"
    )
    argv = engine_command(ctx, "/m.json")
    assert argv[:5] == ["docker", "buildx", "build", "--metadata-file", "/m.json"]
    assert argv[5:7] == ["--build-arg", "X=1, 2"]
    assert argv[-6:] == ["--tag", "a:1", "--tag", "a:2", "--push", "app"]
    assert "hunter22" in ctx.masked
    assert not any("hunter22" in word for word in argv)


def test_without_an_engine_a_build_goes_to_akashic_or_says_what_needs_one(job) -> None:
    ctx = _inputs(job, context=".", tags="a:1", platforms="linux/amd64,linux/arm64", cache_from="type=gha")
    assert own_command(ctx, "/m.json") == [
        "akashic", "image", "build", "--engine", "none", "--output", "/m.json", "--tag", "a:1",
        "--platforms", "linux/amd64,linux/arm64",
    ]  # fmt: skip
    with pytest.raises(ActionFailed, match="need one: push, target"):
        own_command(_inputs(job, push="true", target="x"), "/m.json")


def test_without_a_token_a_comment_goes_to_the_summary(job) -> None:
    ctx = job().use(CREATE_OR_UPDATE, issue_number="3", body="preview is up")
    assert "preview is up" in ctx.markdown
    with pytest.raises(ActionFailed, match="issue-number"):
        job().use(CREATE_OR_UPDATE, body="x")
