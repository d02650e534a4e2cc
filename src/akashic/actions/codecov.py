"""`codecov/codecov-action`. Source: its README and metadata.

Nothing leaves this machine: the coverage files that the action would send are kept as an artifact.
"""

from __future__ import annotations

import re
import stat

from akashic.actions.inputs import boolean, declare, items, text
from akashic.actions.paths import find, parse
from akashic.actions.protocol import ActionContext, ActionFailed, Builtin
from akashic.actions.upload_artifact import store
from akashic.journal.archive import Member

_NAMES = (
    "coverage.xml", "cobertura.xml", "lcov.info", "*.lcov", "coverage-final.json", "jacoco*.xml",
    "clover.xml",
    "coverage.out", "coverage.txt", "junit.xml", "*junit*.xml",
)  # fmt: skip


def _main(ctx: ActionContext) -> None:
    try:
        _keep(ctx)
    except ActionFailed as error:
        if boolean(ctx, "fail_ci_if_error"):
            raise
        ctx.annotate("warning", error.message)


def _keep(ctx: ActionContext) -> None:
    start = text(ctx, "directory") or text(ctx, "working-directory") or "."
    workspace = ctx.sandbox.workspace
    testing = text(ctx, "report_type") == "test_results"
    wanted = items(ctx, "files") or items(ctx, "file")
    if not boolean(ctx, "disable_search"):
        names = [name for name in _NAMES if ("junit" in name) == testing]
        wanted += [f"{start}/**/{name}" for name in names]
    wanted += [f"!{folder}/**" for folder in items(ctx, "exclude")]
    found = (
        f
        for f in find(
            ctx, parse(wanted, workspace=workspace, home=ctx.sandbox.home), hidden=True, follow=False
        )
        if stat.S_ISREG(f.mode) and "/node_modules/" not in f.path
    )
    members = [
        Member(name=f.path.removeprefix(workspace).lstrip("/"), path=ctx.sandbox.host_path(f.path))
        for f in found
    ]
    if not members:
        if boolean(ctx, "handle_no_reports_found"):
            ctx.log("No coverage reports found.")
            return
        raise ActionFailed(
            "No coverage reports found. Please make sure you're generating reports successfully."
        )
    if boolean(ctx, "dry_run"):
        ctx.log(f"Dry run: {len(members)} report(s) found.")
        return
    label = text(ctx, "name") or "-".join(items(ctx, "flags")) or str(ctx.github.get("job") or "report")
    name = "codecov-" + (re.sub(r'["<>|*?:\\/\s]+', "-", label).strip("-.") or "report")
    store(ctx, name, members, overwrite=True)
    ctx.log(f"Kept {len(members)} report(s) as the artifact {name}; nothing was sent to Codecov.")


CODECOV = Builtin(
    name="codecov/codecov-action",
    inputs=(
        *declare(
            "base_sha", "binary", "codecov_yml_path", "commit_parent", "directory", "env_vars",
            "exclude", "file",
            "files", "flags", "gcov_args", "gcov_ignore", "gcov_include", "job_code", "name",
            "network_filter",
            "network_prefix", "os", "override_branch", "override_build", "override_build_url",
            "override_commit",
            "override_pr", "plugins", "report_code", "report_type", "root_dir", "slug", "token", "url",
            "working-directory",
        ),
        *declare(version="latest"),
        *declare(
            "disable_file_fixes", "disable_search", "disable_safe_directory", "disable_telem", "dry_run",
            "fail_ci_if_error", "force", "handle_no_reports_found", "recurse_submodules", "run_command",
            "skip_validation", "swift_project", "use_legacy_upload_endpoint", "use_oidc", "use_pypi",
            "verbose",
            "git_service", "gcov_executable",
        ),
    ),
    main=_main,
)  # fmt: skip
