"""`actions/setup-python`. Source: its README, its advanced usage page and its metadata.

Nothing is downloaded: the interpreter is found in the tool cache (`Python/<version>/<architecture>`), in
pyenv, in uv's folder, or on PATH. The job gets a virtual environment of its own made from it, so `pip
install` in a step changes neither the machine nor another job.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tomllib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec

from akashic.actions.cache import restore_cache, save_cache
from akashic.actions.inputs import boolean, declare, lines, text
from akashic.actions.paths import find, parse
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.actions.system import on_this_machine, programs, run
from akashic.actions.versions import Version, is_range, matches

FILE_BYTES_MAX = 1 << 20
_CACHES = {
    "pip": (("requirements.txt", "pyproject.toml"), "~/.cache/pip"),
    "pipenv": (("Pipfile.lock",), "~/.local/share/virtualenvs"),
    "poetry": (("poetry.lock",), "~/.cache/pypoetry/virtualenvs"),
}
_PROBE = (
    "import sys,json,platform;print(json.dumps([list(sys.version_info),platform.python_implementation(),"
    "sys.base_prefix,platform.machine()]))"
)
_UNPACK_PIP = (
    "import glob,os,sys,zipfile,ensurepip;p=os.path.dirname(ensurepip.__file__)+'/_bundled/pip-*.whl';"
    "w=sorted(glob.glob(p)+glob.glob('/usr/share/python-wheels/pip-*.whl'))[0];"
    "zipfile.ZipFile(w).extractall(sys.argv[1])"
)
_WHEEL_FOLDERS = ("/usr/share/python-wheels",)
"""Where Debian keeps pip's wheel instead."""
_PIP_PYTHON_MIN = (3, 9, 0)
_X86 = ("x64", "x86_64", "amd64")
_ARM = ("arm64", "aarch64")


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """A Python on this machine. `release` is "" for a final version, else `a1`, `rc2`, …"""

    path: str
    version: Version
    implementation: str
    release: str = ""

    @property
    def text(self) -> str:
        """As GitHub writes it: `3.12.4`, `3.14.0-rc.2`."""
        words = {"a": "alpha", "b": "beta", "rc": "rc"}
        match = re.fullmatch(r"(a|b|rc)(\d+)", self.release)
        suffix = f"-{words[match[1]]}.{match[2]}" if match else ""
        return ".".join(str(number) for number in self.version) + suffix


def _main(ctx: ActionContext) -> None:
    wanted = _wanted(ctx)
    _check_architecture(ctx)
    update = boolean(ctx, "update-environment", default=True)
    boolean(ctx, "check-latest")
    prereleases = boolean(ctx, "allow-prereleases")
    known = _interpreters(ctx)
    chosen: Interpreter | None = None
    # The last version that was asked for wins, as on GitHub; all must be there.
    for version in wanted:
        chosen = _choose(known, version, prereleases=prereleases)
        if chosen is None:
            raise ActionFailed(
                f"The version '{version}' with architecture '{ctx.sandbox.arch.lower()}' was not found",
                hint=_found_hint(known),
            )
        python = _environment(ctx, chosen)
        if update:
            _update_environment(ctx, python)
        ctx.output("python-version", _shown(chosen))
        ctx.output("python-path", python)
        ctx.log(f"Successfully set up {chosen.implementation} ({chosen.text}) from {chosen.path}")
    assert chosen is not None
    _extras(ctx, chosen)


def _shown(chosen: Interpreter) -> str:
    return (
        chosen.text if chosen.implementation == "CPython" else f"{chosen.implementation.lower()}{chosen.text}"
    )


def _wanted(ctx: ActionContext) -> list[str]:
    versions = lines(ctx, "python-version")
    file = text(ctx, "python-version-file")
    if versions and file:
        ctx.annotate("warning", "Both python-version and python-version-file are given: python-version wins.")
    if not versions:
        versions = _from_file(ctx, file or ".python-version", required=bool(file))
    return versions or ["x"]


def _from_file(ctx: ActionContext, name: str, *, required: bool) -> list[str]:
    path = os.path.normpath(f"{ctx.sandbox.workspace}/{name}")
    content = ctx.sandbox.read(path, bytes_max=FILE_BYTES_MAX)
    if content is None:
        if required:
            raise ActionFailed(f"The specified python version file at: {name} doesn't exist.")
        return []
    words = content.decode("utf-8", "replace")
    if name.endswith("pyproject.toml"):
        return _from_pyproject(name, words)
    if Path(name).name == "Pipfile":
        match = re.search(r'python_(?:full_)?version\s*=\s*"([^"]+)"', words)
        return [match[1]] if match else []
    if Path(name).name == ".tool-versions":
        match = re.search(r"^\s*python\s+v?(\S+)", words, re.MULTILINE)
        return [match[1]] if match else []
    return [line.strip() for line in words.splitlines() if line.strip() and not line.startswith("#")]


def _from_pyproject(name: str, words: str) -> list[str]:
    try:
        data = tomllib.loads(words)
    except tomllib.TOMLDecodeError as error:
        raise ActionFailed(f"{name} is not valid TOML: {error}") from error
    project = data.get("project", {}).get("requires-python")
    poetry = data.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python")
    found = project or poetry
    return [str(found).replace(",", " ").replace("==", "=").replace("~=", "~")] if found else []


def _check_architecture(ctx: ActionContext) -> None:
    wanted = text(ctx, "architecture").lower()
    here = ctx.sandbox.arch.lower()
    same = {wanted, here} <= set(_X86) or {wanted, here} <= set(_ARM)
    if wanted and wanted != here and not same:
        raise ActionFailed(f"architecture '{wanted}' is not this machine's, which is '{here}'")


def _interpreters(ctx: ActionContext) -> list[Interpreter]:
    """Every interpreter that can be found, the first place first, each only once."""
    names = re.compile(r"(?:python3(?:\.\d+t?)?|python|pypy3(?:\.\d+)?)")
    found: dict[str, Interpreter] = {}
    for path, real in programs(ctx, _places(ctx), ("python*", "pypy3*")):
        if real in found or not names.fullmatch(path.rpartition("/")[2]):
            continue
        interpreter = _probe(ctx, path)
        if interpreter is not None:
            found[real] = interpreter
    return list(found.values())


def _places(ctx: ActionContext) -> list[str]:
    tools = ctx.sandbox.tool_cache
    places: list[str] = []
    for kind in ("Python", "PyPy"):
        root = Path(ctx.sandbox.host_path(f"{tools}/{kind}"))
        places += [
            f"{tools}/{kind}/{path.relative_to(root)}/bin"
            for path in sorted(root.glob("*/*"))
            if path.is_dir() and (root / f"{path.relative_to(root)}.complete").exists()
        ]
    homes = {ctx.env.get("HOME", ""), ctx.sandbox.home, str(Path.home())}
    roots = [ctx.env.get("PYENV_ROOT", ""), ctx.env.get("UV_PYTHON_INSTALL_DIR", "")]
    roots = [f"{root}/versions" if number == 0 and root else root for number, root in enumerate(roots)]
    for home in sorted(homes - {""}) if on_this_machine(ctx) else ():
        roots += [f"{home}/.pyenv/versions", f"{home}/.local/share/uv/python"]
    machine = ctx.sandbox.base_env.get("PATH", "").split(":")
    for versions in (Path(name) for name in roots if name and on_this_machine(ctx)):
        # What is named there may be somebody else's, whose folder we may not read.
        with suppress(OSError):
            places += [str(path / "bin") for path in sorted(versions.iterdir()) if (path / "bin").is_dir()]
            # Each of pyenv's shims asks pyenv for a tenth of a second, and leads to one of these.
            machine = [folder for folder in machine if folder != str(versions.parent / "shims")]
    return list(
        dict.fromkeys([*places, *(p for p in machine if p.startswith("/")), "/usr/local/bin", "/usr/bin"])
    )


def _probe(ctx: ActionContext, path: str) -> Interpreter | None:
    code, output = run(ctx, (path, "-I", "-S", "-c", _PROBE), cwd="/")
    if code:
        return None
    try:
        info, implementation, prefix, _ = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return None
    level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info[3], "")
    base = f"{prefix}/bin/python{info[0]}.{info[1]}"
    return Interpreter(
        # A virtual environment on PATH leads to the interpreter that it was made from.
        path=base if programs(ctx, [f"{prefix}/bin"], [base.rpartition("/")[2]]) else path,
        version=(info[0], info[1], info[2]),
        implementation=implementation,
        release=f"{level}{info[4]}" if level else "",
    )


def _choose(known: list[Interpreter], wanted: str, *, prereleases: bool) -> Interpreter | None:
    """The highest version in the range; among equal ones the one that was found first."""
    implementation = "CPython"
    spec = wanted.strip()
    if spec.lower().startswith("pypy"):
        implementation, spec = "PyPy", re.sub(r"^pypy-?", "", spec, flags=re.IGNORECASE).split("-v")[0]
    elif spec.lower().startswith("graalpy"):
        implementation, spec = "GraalVM", spec[7:].lstrip("-")
    dev = re.fullmatch(r"(\d+\.\d+)-dev", spec)
    if dev:
        spec, prereleases = dev[1], True
    exact = re.fullmatch(r"v?(\d+\.\d+\.\d+)-?(alpha|beta|rc|a|b)\.?(\d+)", spec)
    if exact:
        prereleases, spec = True, exact[1]
    if not is_range(spec):
        raise ActionFailed(f"'{wanted}' is no version and no range of versions")
    fitting = [i for i in known if i.implementation == implementation and matches(i.version, spec)]
    if exact:
        level = {"alpha": "a", "beta": "b"}.get(exact[2], exact[2])
        fitting = [i for i in fitting if i.release == f"{level}{exact[3]}"]
    final = [i for i in fitting if not i.release]
    pool = final or (fitting if prereleases else [])
    return max(pool, key=lambda interpreter: interpreter.version, default=None)


def _found_hint(known: list[Interpreter]) -> str:
    names = ", ".join(dict.fromkeys(i.text for i in sorted(known, key=lambda i: i.version)))
    return (
        f"This machine has: {names or 'no Python at all'}. Install it with your package manager, pyenv or"
        " `uv python install`, or ask for a range such as '3.x'."
    )


def _environment(ctx: ActionContext, chosen: Interpreter) -> str:
    """The job's own virtual environment of this interpreter; its `python`."""
    folder = f"{ctx.sandbox.temp}/_python/{chosen.text}/{ctx.sandbox.arch.lower()}"
    python = f"{folder}/bin/python"
    # Inside of a container the link leads to a file that this machine does not have.
    there = os.access if on_this_machine(ctx) else lambda path, _: os.path.lexists(path)
    if there(ctx.sandbox.host_path(python), os.X_OK):
        return python
    code, output = run(ctx, (chosen.path, "-I", "-m", "venv", "--without-pip", folder), cwd="/")
    if code:
        said = output.strip().splitlines()
        raise ActionFailed(
            f"no virtual environment could be made from {chosen.path}: {said[-1] if said else code}",
            hint="On Debian and Ubuntu: apt-get install python3-venv.",
        )
    _give_pip(ctx, chosen, folder)
    return python


def _give_pip(ctx: ActionContext, chosen: Interpreter, folder: str) -> None:
    """Put pip into the environment. The first time it comes from the interpreter (ensurepip, or its own pip)
    and is kept in the tool cache; afterwards it is a copy, which takes a tenth of the time."""
    site = f"{folder}/lib/python{chosen.version[0]}.{chosen.version[1]}/site-packages"
    if chosen.implementation == "PyPy":
        site = f"{folder}/lib/pypy{chosen.version[0]}.{chosen.version[1]}/site-packages"
    identity = hashlib.sha256(f"{chosen.path}\0{chosen.text}".encode()).hexdigest()[:16]
    kept = f"{ctx.sandbox.tool_cache}/akashic-pip/{identity}"
    if not Path(ctx.sandbox.host_path(kept)).is_dir():
        part = f"{kept}.{os.urandom(4).hex()}.part"
        # pip lies beside the interpreter as a wheel, which is a zip: unpacking it takes a twentieth of the
        # time that ensurepip takes to install it.
        code, _ = run(ctx, (chosen.path, "-I", "-c", _UNPACK_PIP, site), cwd="/")
        if code:
            code, _ = run(ctx, (f"{folder}/bin/python", "-I", "-m", "ensurepip", "--upgrade"), cwd="/")
        if code:
            code, _ = run(
                ctx, (chosen.path, "-I", "-m", "pip", "--python", f"{folder}/bin/python", "install",
                "-q", "pip"),
                cwd="/",
            )  # fmt: skip
        if code and not _lend_pip(ctx, chosen, site):
            ctx.annotate("warning", f"{chosen.path} has neither ensurepip nor pip: pip is not available")
            return
        script = 'mkdir -p "$1" && cp -a "$2"/pip "$2"/pip-*.dist-info "$1"/ && mv -T "$1" "$3"'
        run(ctx, ("sh", "-c", script, "sh", part, site, kept), cwd="/")
        run(ctx, ("rm", "-rf", "--", part), cwd="/")
    else:
        code, _ = run(ctx, ("cp", "-a", "--reflink=auto", f"{kept}/.", site), cwd="/")
        if code:  # The cp of small images does not know the option.
            run(ctx, ("cp", "-a", f"{kept}/.", site), cwd="/")
    launcher = (
        f"#!{folder}/bin/python\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
    )
    for name in ("pip", "pip3", f"pip{chosen.version[0]}.{chosen.version[1]}"):
        ctx.sandbox.write(f"{folder}/bin/{name}", launcher.encode(), executable=True)


def _lend_pip(ctx: ActionContext, chosen: Interpreter, site: str) -> bool:
    """Give an interpreter without pip the one that came with ours: it is one wheel for every Python 3."""
    spec = find_spec("ensurepip")
    folders = [f"{folder}/_bundled" for folder in (spec.submodule_search_locations or ())] if spec else []
    wheels = [
        path for folder in (*folders, *_WHEEL_FOLDERS) for path in sorted(Path(folder).glob("pip-*.whl"))
    ]
    if not wheels or chosen.version < _PIP_PYTHON_MIN:
        return False
    place = f"{ctx.sandbox.temp}/_pip-{os.urandom(6).hex()}.whl"
    ctx.sandbox.write(place, wheels[0].read_bytes())
    code, _ = run(ctx, (chosen.path, "-I", "-m", "zipfile", "-e", place, site), cwd="/")
    run(ctx, ("rm", "-f", "--", place), cwd="/")
    return code == 0


def _update_environment(ctx: ActionContext, python: str) -> None:
    folder = python.removesuffix("/bin/python")
    for name in ("pythonLocation", "Python_ROOT_DIR", "Python2_ROOT_DIR", "Python3_ROOT_DIR"):
        ctx.set_env(name, folder)
    ctx.set_env("PKG_CONFIG_PATH", f"{folder}/lib/pkgconfig")
    ctx.add_path(f"{folder}/bin")


def _extras(ctx: ActionContext, chosen: Interpreter) -> None:
    python = f"{ctx.sandbox.temp}/_python/{chosen.text}/{ctx.sandbox.arch.lower()}/bin/python"
    for name, arguments in (("pip-version", ("--upgrade",)), ("pip-install", ())):
        value = text(ctx, name)
        if value:
            wanted = [f"pip=={value}"] if name == "pip-version" else value.split()
            status, _ = ctx.exec([python, "-m", "pip", "install", *arguments, *wanted])
            if status.code:
                raise ActionFailed(f"pip install {' '.join(wanted)} failed with exit code {status.code}")
    manager = text(ctx, "cache")
    if manager:
        _cache(ctx, manager, chosen)


def _cache(ctx: ActionContext, manager: str, chosen: Interpreter) -> None:
    if manager not in _CACHES:
        raise ActionFailed(f"Caching for '{manager}' is not supported: use pip, pipenv or poetry")
    defaults, folder = _CACHES[manager]
    given = lines(ctx, "cache-dependency-path")
    patterns = parse(
        given or [f"**/{name}" for name in defaults], workspace=ctx.sandbox.workspace, home=ctx.sandbox.home
    )
    digest = hashlib.sha256()
    files = [f for f in find(ctx, patterns, hidden=True, follow=False) if stat.S_ISREG(f.mode)]
    if not files:
        raise ActionFailed(
            f"No file in {ctx.sandbox.workspace} matched to"
            f" [{' or '.join(given or ['**/' + name for name in defaults])}],"
            " make sure you have checked out the target repository"
        )
    for found in files:
        digest.update(hashlib.sha256(Path(ctx.sandbox.host_path(found.path)).read_bytes()).digest())
    prefix = f"setup-python-{ctx.sandbox.os}-{ctx.sandbox.arch.lower()}-python-{chosen.text}-{manager}"
    key = f"{prefix}-{digest.hexdigest()}"
    entry = restore_cache(ctx, [folder], key, [prefix] if manager == "pip" else [])
    ctx.output("cache-hit", "true" if entry and entry.key == key else "false")
    ctx.save_state("cache-key", "" if entry and entry.key == key else key)
    ctx.save_state("cache-path", folder)
    ctx.log(f"Cache restored from key: {entry.key}" if entry else f"{manager} cache is not found")


def _post(ctx: ActionContext) -> None:
    if ctx.state.get("cache-key") and boolean(ctx, "cache-write", default=True):
        save_cache(ctx, [ctx.state["cache-path"]], ctx.state["cache-key"])


SETUP_PYTHON = Builtin(
    name="actions/setup-python",
    inputs=(
        *declare("python-version", "python-version-file", "cache", "architecture", "cache-dependency-path"),
        ActionInput(name="token", default="${{ github.token }}"),
        *declare("mirror", "mirror-token", "pip-version", "pip-install"),
        *declare(
            check_latest="false", update_environment="true", allow_prereleases="false", cache_write="true"
        ),
        ActionInput(
            name="freethreaded",
            default="false",
            refused="a free-threaded build cannot be told from an ordinary one here",
            allowed=("", "false"),
        ),
    ),
    outputs=("python-version", "cache-hit", "python-path"),
    main=_main,
    post=_post,
    post_if="success()",
)
