"""upload-artifact and download-artifact."""

from pathlib import Path

import pytest

from akashic.actions.download_artifact import DOWNLOAD
from akashic.actions.protocol import ActionFailed
from akashic.actions.upload_artifact import MERGE, UPLOAD


def _tree(folder: str) -> dict[str, str]:
    root = Path(folder)
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_what_is_uploaded_can_be_downloaded_by_another_job(job) -> None:
    first = job()
    first.file("dist/a.txt", "A")
    first.file("dist/deep/b.txt", "B")
    first.use(UPLOAD, name="site", path="dist")
    assert first.outputs["artifact-id"].isdigit()
    assert len(first.outputs["artifact-digest"]) == 64
    second = job().use(DOWNLOAD, name="site", path="got")
    assert _tree(second.outputs["download-path"]) == {"a.txt": "A", "deep/b.txt": "B"}


def test_a_single_file_is_at_the_top_and_two_share_their_common_folder(job) -> None:
    ctx = job()
    ctx.file("x/y/one.txt", "1")
    ctx.file("x/z/two.txt", "2")
    ctx.use(UPLOAD, name="one", path="x/y/one.txt")
    ctx.use(UPLOAD, name="two", path="x/y/one.txt\nx/z/two.txt")
    got = job()
    assert _tree(got.use(DOWNLOAD, name="one").outputs["download-path"]) == {"one.txt": "1"}
    got = job()
    assert _tree(got.use(DOWNLOAD, name="two").outputs["download-path"]) == {
        "y/one.txt": "1",
        "z/two.txt": "2",
    }


def test_wildcards_exclusions_and_hidden_files(job) -> None:
    ctx = job()
    for name in ("out/a.txt", "out/b.log", "out/.hidden", "out/sub/c.txt"):
        ctx.file(name)
    ctx.use(UPLOAD, name="plain", path="out\n!out/**/*.log")
    ctx.use(UPLOAD, name="all", path="out/**", include_hidden_files="true")
    assert sorted(_tree(job().use(DOWNLOAD, name="plain").outputs["download-path"])) == ["a.txt", "sub/c.txt"]
    got = sorted(_tree(job().use(DOWNLOAD, name="all").outputs["download-path"]))
    assert got == [".hidden", "a.txt", "b.log", "sub/c.txt"]


def test_without_a_name_each_artifact_gets_a_folder_unless_merged(job) -> None:
    ctx = job()
    ctx.file("a.txt", "A")
    ctx.file("b.txt", "B")
    ctx.use(UPLOAD, name="r-a", path="a.txt")
    ctx.use(UPLOAD, name="r-b", path="b.txt")
    assert _tree(job().use(DOWNLOAD).outputs["download-path"]) == {"r-a/a.txt": "A", "r-b/b.txt": "B"}
    merged = job().use(DOWNLOAD, pattern="r-*", merge_multiple="true")
    assert _tree(merged.outputs["download-path"]) == {"a.txt": "A", "b.txt": "B"}


def test_download_by_id(job) -> None:
    ctx = job()
    ctx.file("a.txt", "A")
    number = ctx.use(UPLOAD, path="a.txt").outputs["artifact-id"]
    assert _tree(job().use(DOWNLOAD, artifact_ids=number).outputs["download-path"]) == {"a.txt": "A"}
    with pytest.raises(ActionFailed, match="None of the provided"):
        job().use(DOWNLOAD, artifact_ids="999")


def test_a_missing_artifact_is_an_error(job) -> None:
    with pytest.raises(ActionFailed, match="Artifact not found for name: nope"):
        job().use(DOWNLOAD, name="nope")


def test_no_files_warns_fails_or_is_ignored(job) -> None:
    assert job().use(UPLOAD, path="nothing").annotations[0][0] == "warning"
    assert job().use(UPLOAD, path="nothing", if_no_files_found="ignore").annotations == []
    with pytest.raises(ActionFailed, match="No files were found"):
        job().use(UPLOAD, path="nothing", if_no_files_found="error")
    with pytest.raises(ActionFailed, match="Unrecognized if-no-files-found"):
        job().use(UPLOAD, path="nothing", if_no_files_found="what")


def test_a_name_cannot_be_taken_twice_unless_overwritten(job) -> None:
    ctx = job()
    ctx.file("a.txt", "old")
    ctx.use(UPLOAD, name="n", path="a.txt")
    ctx.file("a.txt", "new")
    with pytest.raises(ActionFailed, match="already exists"):
        ctx.use(UPLOAD, name="n", path="a.txt")
    ctx.use(UPLOAD, name="n", path="a.txt", overwrite="true")
    assert _tree(job().use(DOWNLOAD, name="n").outputs["download-path"]) == {"a.txt": "new"}


def test_one_file_as_it_is(job) -> None:
    ctx = job()
    ctx.file("report.html", "<p>")
    ctx.use(UPLOAD, path="report.html", archive="false")
    assert _tree(job().use(DOWNLOAD, name="report.html").outputs["download-path"]) == {"report.html": "<p>"}


def test_artifacts_can_be_merged_and_the_parts_deleted(job) -> None:
    ctx = job()
    ctx.file("a.txt", "A")
    ctx.file("b.txt", "B")
    ctx.use(UPLOAD, name="p-a", path="a.txt")
    ctx.use(UPLOAD, name="p-b", path="b.txt")
    ctx.use(MERGE, name="whole", pattern="p-*", separate_directories="true", delete_merged="true")
    assert [artifact.name for artifact in ctx.artifacts.find_all()] == ["whole"]
    got = _tree(job().use(DOWNLOAD, name="whole").outputs["download-path"])
    assert got == {"p-a/a.txt": "A", "p-b/b.txt": "B"}
