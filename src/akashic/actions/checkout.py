"""`actions/checkout`. Source: its README and metadata.

The run's own repository comes from this machine, without a network, with its whole history: `fetch-depth`,
`fetch-tags` and `filter` ask for less than is there and are met already. Another repository is fetched with
git. No hook ever runs; submodules only on request (CVE-2024-32002, CVE-2025-48384).
"""

from __future__ import annotations

import os
import re
import subprocess
from base64 import b64encode

from akashic.actions.inputs import boolean, declare, integer, lines, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.actions.system import GIT_SAFE, git, on_this_machine, run
from akashic.errors import AkashicError
from akashic.executors.protocol import Tree

GIT_TIMEOUT_S = 30
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def _main(ctx: ActionContext) -> None:
    repository = text(ctx, "repository") or ctx.repository
    if not _REPOSITORY.fullmatch(repository):
        raise ActionFailed(f"Invalid repository '{repository}'. Expected format {{owner}}/{{repo}}.")
    submodules = _submodules(ctx)
    lfs = boolean(ctx, "lfs")
    boolean(ctx, "show-progress", default=True)
    safe = boolean(ctx, "set-safe-directory", default=True)
    boolean(ctx, "fetch-tags")
    destination = _destination(ctx)
    ref = text(ctx, "ref")
    if ref.startswith("-"):
        raise ActionFailed(f"'{ref}' is no ref")
    if safe and not on_this_machine(ctx):
        # In a container the files belong to somebody else than the process that calls git.
        run(ctx, ("git", "config", "--global", "--add", "safe.directory", destination))
    own = repository.lower() == ctx.repository.lower()
    if own:
        shown, commit = _own(ctx, ref, destination)
    else:
        shown, commit = _other(ctx, repository, ref, destination)
    _sparse(ctx, destination)
    if lfs:
        _lfs(ctx, destination)
    if submodules:
        _update_submodules(ctx, destination, recursive=submodules == "recursive")
    if text(ctx, "token") and boolean(ctx, "persist-credentials", default=True):
        _persist(ctx, destination)
    ctx.output("ref", shown)
    ctx.output("commit", commit)
    ctx.log(f"Checked out {repository} {shown} ({commit[:12]})")


def _destination(ctx: ActionContext) -> str:
    workspace = ctx.sandbox.workspace
    path = text(ctx, "path")
    destination = os.path.normpath(path if path.startswith("/") else f"{workspace}/{path}")
    if "\0" in path or not (destination + "/").startswith(workspace.rstrip("/") + "/"):
        raise ActionFailed(f"Repository path '{destination}' is not under '{workspace}'")
    return destination


def _own(ctx: ActionContext, ref: str, destination: str) -> tuple[str, str]:
    """Put the run's tree there, or another commit of the same repository; its ref and commit."""
    tree = ctx.tree
    shown = ref or str(ctx.github.get("ref") or tree.commit)
    if ref and ref not in (ctx.github.get("ref"), ctx.github.get("ref_name"), tree.commit):
        commit = _resolve(ctx, ref)
        if commit != tree.commit:
            tree = Tree(root=tree.root, commit=commit, dirty=False)
    try:
        ctx.sandbox.materialise(tree, destination, clean=boolean(ctx, "clean", default=True))
    except AkashicError as error:
        raise ActionFailed(error.message, hint=error.hint) from error
    # The workspace of a repository that is a sub-folder has a HEAD made for it; the commit is the tree's.
    return shown, tree.commit


def _resolve(ctx: ActionContext, ref: str) -> str:
    names = [ref] if ref.startswith("refs/") or _COMMIT.fullmatch(ref.lower()) else []
    names += [f"refs/heads/{ref}", f"refs/remotes/origin/{ref}", f"refs/tags/{ref}", ref]
    for name in names:
        found = _parse(ctx.tree.root, f"{name}^{{commit}}")
        if _COMMIT.fullmatch(found):
            return found
    raise ActionFailed(
        f"A branch or tag with the name '{ref}' could not be found",
        hint="Only refs of this clone can be checked out: fetch it first (git fetch origin).",
    )


def _parse(root: str, revision: str) -> str:
    """What a revision of the repository on this machine stands for; "" when for nothing. The job may be in a
    container, which sees neither that repository nor perhaps a git."""
    argv = (*GIT_SAFE, "rev-parse", "--verify", "--quiet", "--end-of-options", revision)
    env = {"PATH": os.environ.get("PATH", os.defpath), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv, cwd=root, env=env, capture_output=True, check=False, timeout=GIT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ActionFailed(f"git could not be asked for '{revision}': {error}") from error
    return done.stdout.decode("ascii", "replace").strip() if done.returncode == 0 else ""


def _other(ctx: ActionContext, repository: str, ref: str, destination: str) -> tuple[str, str]:
    """Fetch another repository with git; its ref and commit."""
    if boolean(ctx, "clean", default=True) or not ctx.sandbox.read(f"{destination}/.git/HEAD", bytes_max=1):
        # The folder itself stays: the job's processes stand in it.
        script = 'mkdir -p -- "$1" && find "$1" -mindepth 1 -delete'
        run(ctx, ("sh", "-c", script, "sh", destination), cwd=ctx.sandbox.temp)
    url, env = _remote(ctx, repository)
    git(ctx, "init", "-q", "--template=", destination)
    run(ctx, (*GIT_SAFE, "remote", "remove", "origin"), cwd=destination)
    git(ctx, "remote", "add", "origin", url, cwd=destination)
    depth = integer(ctx, "fetch-depth", default=1, low=0, high=2**31 - 1)
    options = [f"--depth={depth}"] if depth else ["--tags"]
    if boolean(ctx, "fetch-tags"):
        options.append("--tags")
    partial = text(ctx, "filter") or ("blob:none" if lines(ctx, "sparse-checkout") else "")
    if partial:
        options.append(f"--filter={partial}")
    try:
        git(
            ctx, "fetch", "-q", "--no-recurse-submodules", *options, "origin", ref or "HEAD",
            cwd=destination, env=env,
        )  # fmt: skip
    except ActionFailed as error:
        raise ActionFailed(
            f"the repository {repository} could not be fetched from {url}: {error.message}",
            hint="Another repository needs a network, and a token when it is private.",
        ) from error
    git(ctx, "checkout", "-q", "--force", "--detach", "FETCH_HEAD", cwd=destination, env=env)
    commit = git(ctx, "rev-parse", "HEAD", cwd=destination)
    return ref or commit, commit


def _server(ctx: ActionContext) -> str:
    return (
        text(ctx, "github-server-url") or str(ctx.github.get("server_url") or "https://github.com")
    ).rstrip("/")


def _remote(ctx: ActionContext, repository: str) -> tuple[str, dict[str, str]]:
    """The address, and the environment that signs in: credentials never stand in a command line."""
    server = _server(ctx)
    key = ctx.inputs.get("ssh-key", "").strip()
    if key:
        place = f"{ctx.sandbox.temp}/_ssh-{os.urandom(6).hex()}"
        ctx.sandbox.write(place, (key + "\n").encode())
        hosts = ctx.inputs.get("ssh-known-hosts", "").strip()
        ctx.sandbox.write(f"{place}.hosts", (hosts + "\n").encode())
        run(ctx, ("chmod", "600", place))
        strict = "yes" if boolean(ctx, "ssh-strict", default=True) else "no"
        command = (
            f"ssh -i '{place}' -o IdentitiesOnly=yes -o StrictHostKeyChecking={strict} -o CheckHostIP=no"
            f" -o UserKnownHostsFile='{place}.hosts'"
        )
        ctx.save_state("ssh-key", place)
        host = server.split("://", 1)[-1]
        return f"{text(ctx, 'ssh-user') or 'git'}@{host}:{repository}.git", {"GIT_SSH_COMMAND": command}
    token = text(ctx, "token")
    if not token:
        return f"{server}/{repository}", {}
    return f"{server}/{repository}", {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraheader",
        "GIT_CONFIG_VALUE_0": _header(ctx, token),
    }


def _header(ctx: ActionContext, token: str) -> str:
    encoded = b64encode(f"x-access-token:{token}".encode()).decode()
    ctx.mask(encoded)
    return f"AUTHORIZATION: basic {encoded}"


def _persist(ctx: ActionContext, destination: str) -> None:
    """Let git commands of later steps sign in. As in version 6 of the action the token lies in the job's
    temporary folder, which is no part of any artifact and ends with the job; the repository only names it."""
    place = f"{ctx.sandbox.temp}/git-credentials-{os.urandom(8).hex()}.config"
    header = _header(ctx, text(ctx, "token"))
    ctx.sandbox.write(place, f'[http "{_server(ctx)}/"]\n\textraheader = "{header}"\n'.encode())
    run(ctx, ("chmod", "600", place))
    code, _ = run(ctx, (*GIT_SAFE, "config", "--local", "--add", "include.path", place), cwd=destination)
    if code:
        run(ctx, ("rm", "-f", "--", place))
        return
    ctx.save_state("credentials", place)
    ctx.save_state("destination", destination)


def _post(ctx: ActionContext) -> None:
    credentials = ctx.state.get("credentials", "")
    if credentials:
        pattern = re.escape(credentials)
        run(
            ctx, (*GIT_SAFE, "config", "--local", "--unset-all", "include.path", pattern),
            cwd=ctx.state.get("destination"),
        )  # fmt: skip
        run(ctx, ("rm", "-f", "--", credentials))
    key = ctx.state.get("ssh-key", "")
    if key:
        run(ctx, ("rm", "-f", "--", key, f"{key}.hosts"))


def _sparse(ctx: ActionContext, destination: str) -> None:
    patterns = lines(ctx, "sparse-checkout")
    if not patterns:
        return
    cone = "--cone" if boolean(ctx, "sparse-checkout-cone-mode", default=True) else "--no-cone"
    code, output = run(
        ctx, (*GIT_SAFE, "sparse-checkout", "set", cone, "--stdin"),
        cwd=destination, stdin="\n".join(patterns).encode(),
    )  # fmt: skip
    if code:
        raise ActionFailed(f"sparse-checkout failed: {output.strip()}")


def _lfs(ctx: ActionContext, destination: str) -> None:
    code, _ = run(ctx, ("git", "lfs", "version"))
    if code:
        raise ActionFailed(
            "'lfs: true' needs git-lfs, which is not installed on this machine", hint="Install git-lfs."
        )
    git(ctx, "lfs", "pull", cwd=destination)


def _submodules(ctx: ActionContext) -> str:
    value = text(ctx, "submodules").lower()
    if value not in ("", "false", "true", "recursive"):
        raise ActionFailed(f"Input 'submodules' must be true, false or recursive, got {value!r}")
    return "" if value == "false" else value


def _update_submodules(ctx: ActionContext, destination: str, *, recursive: bool) -> None:
    _, env = _remote(ctx, ctx.repository)
    more = ("--recursive",) if recursive else ()
    try:
        git(ctx, "submodule", "sync", "-q", *more, cwd=destination, env=env)
        git(ctx, "submodule", "update", "-q", "--init", "--force", *more, cwd=destination, env=env)
    except ActionFailed as error:
        raise ActionFailed(
            f"the submodules could not be checked out: {error.message}",
            hint="Submodules are fetched from where .gitmodules says, which needs a network.",
        ) from error


CHECKOUT = Builtin(
    name="actions/checkout",
    inputs=(
        ActionInput(name="repository", default="${{ github.repository }}"),
        ActionInput(name="token", default="${{ github.token }}"),
        *declare(
            "ref", "ssh-key", "ssh-known-hosts", "path", "filter", "sparse-checkout", "github-server-url"
        ),
        *declare(
            ssh_strict="true",
            ssh_user="git",
            persist_credentials="true",
            clean="true",
            sparse_checkout_cone_mode="true",
            fetch_depth="1",
            fetch_tags="false",
            show_progress="true",
            lfs="false",
            submodules="false",
            set_safe_directory="true",
        ),
    ),
    outputs=("ref", "commit"),
    main=_main,
    post=_post,
)
