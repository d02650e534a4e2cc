"""`aquasecurity/trivy-action`. Source: its README and action.yaml.

Where `trivy` is on PATH it is run, with the variables that the action sets. Elsewhere the image is scanned by
`akashic image scan`, and the log says so: it finds secrets, dangerous settings, licences, and vulnerabilities
by imported advisories. What only Trivy can do is then an error that names the input.
"""

from __future__ import annotations

import re

from akashic.actions.inputs import boolean, declare, items, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.actions.system import run

OUTPUT_BYTES_MAX = 64 << 20
SEVERITIES = "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL"
# Inputs that become a variable of trivy when they are not the default (as in the action).
_VARIABLES = {
    "input": "TRIVY_INPUT", "exit-code": "TRIVY_EXIT_CODE", "ignore-unfixed": "TRIVY_IGNORE_UNFIXED",
    "vuln-type": "TRIVY_PKG_TYPES", "severity": "TRIVY_SEVERITY", "format": "TRIVY_FORMAT",
    "template": "TRIVY_TEMPLATE", "output": "TRIVY_OUTPUT", "skip-dirs": "TRIVY_SKIP_DIRS",
    "skip-files": "TRIVY_SKIP_FILES", "timeout": "TRIVY_TIMEOUT", "ignore-policy": "TRIVY_IGNORE_POLICY",
    "hide-progress": "TRIVY_QUIET", "list-all-pkgs": "TRIVY_LIST_ALL_PKGS", "scanners": "TRIVY_SCANNERS",
    "trivy-config": "TRIVY_CONFIG", "tf-vars": "TRIVY_TF_VARS", "docker-host": "TRIVY_DOCKER_HOST",
}  # fmt: skip
_ONLY_TRIVY = (
    "input", "template", "skip-dirs", "skip-files", "ignore-policy", "trivyignores", "trivy-config",
    "tf-vars",
)  # fmt: skip
"""Inputs without a meaning for our scanners. (`timeout`, caches and versions have nothing to do there.)"""
_LEVELS = ("low", "medium", "high", "critical")


def _main(ctx: ActionContext) -> None:
    if text(ctx, "github-pat"):
        raise ActionFailed("trivy-action: 'github-pat' sends an SBOM to github.com, which no local run does")
    code, found = run(ctx, ("sh", "-c", "command -v trivy"))
    if code == 0 and found.strip():
        _trivy(ctx)
    else:
        _own(ctx)


def _trivy(ctx: ActionContext) -> None:
    kind = text(ctx, "scan-type") or "image"
    target = text(ctx, "image-ref") if kind == "image" and text(ctx, "image-ref") else text(ctx, "scan-ref")
    env = {"TRIVY_CACHE_DIR": text(ctx, "cache-dir")}
    defaults = {spec.name: spec.default for spec in TRIVY.inputs}
    for name, variable in _VARIABLES.items():
        value = text(ctx, name)
        if value and value != defaults[name]:
            env[variable] = value
    if text(ctx, "format") == "sarif" and not boolean(ctx, "limit-severities-for-sarif"):
        env.pop("TRIVY_SEVERITY", None)
    if files := items(ctx, "trivyignores"):
        env["TRIVY_IGNOREFILE"] = _joined(ctx, files)
    argv = ["trivy", kind, *([] if text(ctx, "input") else [target])]
    status, _ = ctx.exec(argv, env=env)
    if status.code:
        raise ActionFailed(f"trivy ended with exit code {status.code}")


def _joined(ctx: ActionContext, files: list[str]) -> str:
    parts = [
        ctx.sandbox.read(f"{ctx.sandbox.workspace}/{file}", bytes_max=OUTPUT_BYTES_MAX) for file in files
    ]
    for file, part in zip(files, parts, strict=True):
        if part is None:
            raise ActionFailed(f"ERROR: cannot find ignorefile '{file}'.")
    path = f"{ctx.sandbox.temp}/trivyignores"
    ctx.sandbox.write(path, b"\n".join(part or b"" for part in parts))
    return path


def own_command(ctx: ActionContext) -> list[str]:
    """`akashic image scan` with the inputs. Raises ActionFailed for what only Trivy can do."""
    kind, output_format = text(ctx, "scan-type") or "image", text(ctx, "format") or "table"
    needed = [name for name in _ONLY_TRIVY if text(ctx, name)]
    needed += [f"scan-type: {kind}"] if kind != "image" else []
    needed += [f"format: {output_format}"] if output_format not in ("table", "json", "sarif") else []
    needed += ["limit-severities-for-sarif"] if boolean(ctx, "limit-severities-for-sarif") else []
    if needed:
        raise ActionFailed(
            f"trivy is not on PATH, and these inputs need it: {', '.join(needed)}",
            hint="Install trivy, or remove the inputs.",
        )
    if not text(ctx, "image-ref"):
        raise ActionFailed("trivy-action: input required and not supplied: image-ref")
    wanted = [word.lower() for word in items(ctx, "severity")]
    unknown = [word for word in wanted if word not in (*_LEVELS, "unknown")]
    if unknown:
        raise ActionFailed(f"trivy-action: unknown severity: {', '.join(unknown)}")
    least = next((level for level in _LEVELS if level in wanted), "low")
    exit_code = text(ctx, "exit-code") or "0"
    if not re.fullmatch(r"\d{1,3}", exit_code):
        raise ActionFailed(f"trivy-action: 'exit-code' must be a number, got {exit_code!r}")
    argv = ["akashic", *(["--json"] if output_format == "json" else []), "image", "scan"]
    argv += ["--image", text(ctx, "image-ref"), "--fail-on", least if int(exit_code) else "never"]
    if scanners := items(ctx, "scanners"):
        argv += ["--scanners", ",".join(scanners)]
    if boolean(ctx, "ignore-unfixed"):
        argv += ["--ignore-unfixed"]
    if output_format == "sarif":
        argv += ["--sarif", text(ctx, "output") or f"{ctx.sandbox.temp}/trivy.sarif"]
    return argv


def _own(ctx: ActionContext) -> None:
    argv = own_command(ctx)
    ctx.log("trivy is not on PATH: the image is scanned by `akashic image scan` instead.")
    environ = {"DOCKER_HOST": text(ctx, "docker-host")} if text(ctx, "docker-host") else None
    status, said = ctx.exec(argv, env=environ)
    if text(ctx, "output") and "--sarif" not in argv:
        ctx.sandbox.write(f"{ctx.sandbox.workspace}/{text(ctx, 'output')}", said)
    if status.code:
        last = said.decode("utf-8", "replace").strip().splitlines()
        raise ActionFailed(f"the scan failed: {last[-1] if last else f'exit code {status.code}'}")


TRIVY = Builtin(
    name="aquasecurity/trivy-action",
    inputs=(
        *declare(
            "image-ref", "input", "exit-code", "template", "output", "skip-dirs", "skip-files", "timeout"
        ),
        *declare("ignore-policy", "hide-progress", "scanners", "trivyignores", "github-pat", "trivy-config"),
        *declare("tf-vars", "limit-severities-for-sarif", "docker-host"),
        ActionInput(name="scan-type", default="image"),
        ActionInput(name="scan-ref", default="."),
        ActionInput(name="ignore-unfixed", default="false"),
        ActionInput(name="vuln-type", default="os,library"),
        ActionInput(name="severity", default=SEVERITIES),
        ActionInput(name="format", default="table"),
        ActionInput(name="cache-dir", default="${{ github.workspace }}/.cache/trivy"),
        ActionInput(name="list-all-pkgs", default="false"),
        ActionInput(name="version"),
        ActionInput(name="cache", default="true"),
        ActionInput(name="skip-setup-trivy", default="false"),
        ActionInput(name="token-setup-trivy", default="${{ github.token }}"),
    ),
    main=_main,
)
