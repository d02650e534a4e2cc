"""The npm packages that GitHub's own actions are made of, bundled into one file as those actions are."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent / "npm"
ESBUILD = "0.25.0"
BANNER = "import{createRequire as makeRequire}from'node:module';const require=makeRequire(import.meta.url);"
INSTALL_TIMEOUT_S = 240
GENERATIONS = {
    # What actions/{upload,download}-artifact and actions/cache used at version 3, 4 and 6.
    "v3": {"@actions/artifact": "1.1.3", "@actions/cache": "3.2.4", "@actions/core": "1.11.1"},
    "v4": {"@actions/artifact": "2.3.2", "@actions/cache": "4.1.0", "@actions/core": "1.11.1"},
    "v6": {"@actions/artifact": "6.2.1", "@actions/cache": "6.3.0", "@actions/core": "3.0.1"},
}


class NotHere(Exception):
    """The packages cannot be had on this machine; the message says why."""


def bundle(generation: str) -> Path:
    """`probe.mjs` with its packages, as one script. Made once on this machine."""
    wanted = {**GENERATIONS[generation], "esbuild": ESBUILD}
    probe = (HERE / "probe.mjs").read_bytes()
    name = hashlib.sha256(json.dumps([wanted, BANNER]).encode() + probe).hexdigest()[:16]
    kept = Path(tempfile.gettempdir()) / f"akashic-test-npm-{os.getuid()}" / f"{generation}-{name}.mjs"
    if kept.exists():
        return kept
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotHere("Node.js and npm are not on this machine")
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        place = Path(folder)
        (place / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
        (place / "probe.mjs").write_bytes(probe)
        _run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], place)
        _run(
            ["node_modules/.bin/esbuild", "probe.mjs", "--bundle", "--platform=node", "--format=esm",
             f"--banner:js={BANNER}",
             "--outfile=out.mjs", "--log-level=error"],
            place,
        )  # fmt: skip
        (place / "out.mjs").rename(kept)
    return kept


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NotHere(f"{command[0]} took more than {INSTALL_TIMEOUT_S} s") from None
    if done.returncode:
        raise NotHere(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-300:]}")
