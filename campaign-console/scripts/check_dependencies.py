"""`lock`: the lock files are whole. `licences`: what we ship may be shipped.

Both work without a network. The policy: licences that are listed below, and nothing else, for everything in
requirements.lock (development tools are used, not shipped).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ALLOWED = (
    "apache",
    "bsd",
    "isc",
    "mit",
    "mpl-2.0",
    "mozilla public license 2.0",
    "psf",
    "python software foundation",
    "lgpl-3.0",
    "gnu lesser general public license v3",
    "0bsd",
)
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read(path: str) -> dict[str, str]:
    """Name and version of everything in a lock; exits when an entry is not pinned and hashed."""
    found: dict[str, str] = {}
    text = Path(path).read_text(encoding="utf-8")
    if "://" in text:
        raise SystemExit(f"{path}: names an address; a lock holds names, versions and hashes only")
    for entry in re.split(r"\n(?=\S)", text):
        if not entry.strip() or entry.startswith("#"):
            continue
        match = _PINNED.match(entry)
        if match is None or not _HASH.search(entry):
            raise SystemExit(f"{path}: not pinned with a hash: {entry.splitlines()[0]}")
        found[normal(match[1])] = match[2]
    return found


def lock() -> None:
    shipped, all_of_them = read("requirements.lock"), read("requirements-dev.lock")
    for name, version in shipped.items():
        if all_of_them.get(name) != version:
            raise SystemExit(
                f"requirements-dev.lock tests {name} {all_of_them.get(name)}, but {version} is shipped"
            )
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    for wanted, locked in (
        (project["project"]["dependencies"], shipped),
        (project["dependency-groups"]["dev"], all_of_them),
    ):
        for requirement in wanted:
            name = normal(re.split(r"[\[<>=!~ ;]", requirement, maxsplit=1)[0])
            if name not in locked:
                raise SystemExit(f"pyproject.toml wants {name}, which is not locked: compile the locks again")
    print(f"{len(shipped)} packages shipped, {len(all_of_them)} in all; each pinned with its hashes")


def licences() -> None:
    shipped = read("requirements.lock")
    done = subprocess.run(
        ["pip-licenses", "--format=json", "--from=all", "--with-system"], capture_output=True, check=True
    )
    refused = []
    installed = {normal(row["Name"]): row for row in json.loads(done.stdout)}
    Path("reports").mkdir(exist_ok=True)
    rows = []
    for name in sorted(shipped):
        row = installed.get(name)
        if row is None:
            continue  # of another platform or Python
        words = " ; ".join(
            str(row.get(key, "")) for key in ("License-Expression", "License-Metadata", "License-Classifier")
        )
        rows.append({"name": name, "version": row["Version"], "licence": words})
        if not any(allowed in words.lower() for allowed in ALLOWED):
            refused.append(f"{name} {row['Version']}: {words or 'no licence named'}")
    Path("reports/licences.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    for line in refused:
        print(f"not allowed: {line}")
    print(f"{len(rows)} packages checked, {len(refused)} not allowed")
    if refused:
        raise SystemExit(1)


if __name__ == "__main__":
    {"lock": lock, "licences": licences}[sys.argv[1]]()
