"""Variables that the runner sets for every step, and variables that must not reach the runner's own
processes.

Source: GitHub's "Variables reference" (default environment variables); the names that are not documented
there but set by GitHub's runner are kept too, because actions read them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from akashic.engine.requests import JobRequest
from akashic.executors.architecture import machine_architecture
from akashic.executors.protocol import Sandbox
from akashic.runner.places import in_container
from akashic.workflow.contexts import GITHUB_VARIABLES
from akashic.workflow.expressions.coercion import to_string

RUNNER_NAME = "akashic"
SHA_CHARACTERS = 40

_GITHUB_NAMES = {name: f"GITHUB_{name.upper()}" for name in GITHUB_VARIABLES}

LOADER_VARIABLES = frozenset(
    [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "LD_DEBUG",
        "LD_DEBUG_OUTPUT",
        "LD_PROFILE",
        "LD_ORIGIN_PATH",
        "LD_BIND_NOT",
        "DYLD_INSERT_LIBRARIES",
        "DYLD_LIBRARY_PATH",
        "DYLD_FRAMEWORK_PATH",
        "GCONV_PATH",
        "GLIBC_TUNABLES",
        "MALLOC_TRACE",
        "NODE_OPTIONS",
        "NODE_PATH",
        "NODE_REPL_EXTERNAL_MODULE",
        "BASH_ENV",
        "ENV",
        "BASHOPTS",
        "SHELLOPTS",
        "PROMPT_COMMAND",
        "PS4",
        "IFS",
        "CDPATH",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONINSPECT",
        "PYTHONBREAKPOINT",
        "PYTHONEXECUTABLE",
        "PYTHONUSERBASE",
        "PERL5OPT",
        "PERL5LIB",
        "PERL5DB",
        "RUBYOPT",
        "RUBYLIB",
        "JAVA_TOOL_OPTIONS",
        "_JAVA_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "GIT_EXEC_PATH",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_PAGER",
        "GIT_EDITOR",
        "GIT_ASKPASS",
        "SSH_ASKPASS",
        "GIT_CONFIG",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_TEMPLATE_DIR",
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "PAGER",
        "EDITOR",
        "VISUAL",
        "TAR_OPTIONS",
        "LESSOPEN",
        "LESSCLOSE",
    ]
)
_LOADER_PREFIXES = ("LD_", "DYLD_", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_", "BASH_FUNC_")


def without_loader_variables(env: Mapping[str, str]) -> dict[str, str]:
    """`env` without what would load code into a process, or replace its helpers: for processes that the
    runner starts for itself. The user's own steps get their variables as GitHub allows."""
    return {
        name: value
        for name, value in env.items()
        if name.upper() not in LOADER_VARIABLES and not name.upper().startswith(_LOADER_PREFIXES)
    }


def text_of(value: Any) -> str:
    """A context's value as a variable."""
    return to_string(value)


def github_variables(github: Mapping[str, Any]) -> dict[str, str]:
    """GITHUB_* from the `github` context: what is there and documented. The token is not among them."""
    variables: dict[str, str] = {"GITHUB_ACTIONS": "true"}
    for name, variable in _GITHUB_NAMES.items():
        value = github.get(name)
        if value is not None:
            variables[variable] = to_string(value)
    return variables


def early_runner_context(*, debug: bool) -> dict[str, Any]:
    """What of the `runner` context is known before a job has its place: the `env` of its container and of its
    services may use it (GitHub's "Contexts", "Context availability")."""
    context = {
        "os": "Linux",
        "arch": machine_architecture(),
        "name": RUNNER_NAME,
        "environment": "self-hosted",
    }
    return {**context, "debug": "1"} if debug else context


def runner_context(sandbox: Sandbox, *, debug: bool) -> dict[str, Any]:
    """The `runner` context."""
    return {
        **early_runner_context(debug=debug),
        "os": sandbox.os,
        "arch": sandbox.arch,
        "temp": sandbox.temp,
        "tool_cache": sandbox.tool_cache,
        # In a container as GitHub has it: the folder around the workspace.
        "workspace": posixpath.dirname(sandbox.workspace) if in_container(sandbox) else sandbox.workspace,
    }


def runner_variables(runner: Mapping[str, Any]) -> dict[str, str]:
    """RUNNER_* from the `runner` context, and the older name of the tool cache that setup actions read."""
    variables = {f"RUNNER_{name.upper()}": to_string(value) for name, value in runner.items()}
    variables["AGENT_TOOLSDIRECTORY"] = variables["RUNNER_TOOL_CACHE"]
    if "debug" in runner:
        variables["ACTIONS_STEP_DEBUG"] = "true"
    return variables


def workflow_of_job(request: JobRequest) -> dict[str, str]:
    """The part of the `job` context that tells which workflow file defines the job (GitHub's "Contexts"):
    for a job of a reusable workflow that one, not the caller's."""
    github = request.github
    name, at, ref = request.workflow_path.partition("@")
    if at and not name.startswith("./"):
        owner, repository, path = (*name.split("/", 2), "", "")[:3]
        whole = f"{owner}/{repository}"
        sha = ref if len(ref) == SHA_CHARACTERS else ""
    else:
        path = request.workflow_path.removeprefix("./")
        whole = str(github.get("repository", ""))
        ref = str(github.get("workflow_ref", "")).partition("@")[2]
        sha = str(github.get("workflow_sha", ""))
    return {
        "workflow_ref": f"{whole}/{path}@{ref}",
        "workflow_sha": sha,
        "workflow_repository": whole,
        "workflow_file_path": path,
    }


def akashic_variables(request: JobRequest) -> dict[str, str]:
    """What lets a step call `akashic`: which run and job it is part of."""
    variables = {
        "AKASHIC": "true",
        "AKASHIC_RUN_ID": request.run_id,
        "AKASHIC_JOB": request.key,
        "AKASHIC_ATTEMPT": str(request.attempt),
    }
    if request.environment:
        variables["AKASHIC_ENVIRONMENT"] = request.environment
    return variables
