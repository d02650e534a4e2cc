"""What the documentation says exists: commands and options, files behind links, keys of examples."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import re
import shlex
from pathlib import Path

import pytest

from akashic.cli.dispatch import COMMANDS, Parser, _add_global_options, command_parser
from akashic.delivery.config_file import parse_config
from akashic.errors import UsageError
from akashic.workflow.parse import parse_workflow

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "bench" / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "campaign-console" / "README.md",
    *sorted((ROOT / "campaign-console" / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
HAND_WRITTEN = [page for page in PAGES if "scripts/reference.py" not in page.read_text("utf-8")[:200]]
SOURCES = [
    *(file for top in ("src", "tests", "scripts") for file in (ROOT / top).rglob("*.py")),
    *(ROOT / "campaign-console" / ".github").rglob("*.yml"),
]
OPTIONS_OF_OTHERS = ("--cpus", "--group", "--pids-limit", "--require-hashes")
"""Of docker, pip and uv."""
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in _FENCE.findall(page.read_text("utf-8")) if language in languages]


def _commands() -> list[tuple[str, str]]:
    found = []
    for page in HAND_WRITTEN:
        text = page.read_text("utf-8")
        lines = [
            line[2:] for block in _blocks(page, "console") for line in block.splitlines() if line[:2] == "$ "
        ]
        inline = re.findall(r"`(akashic [^`]+)`", _FENCE.sub("", text))
        inline = [part for command in inline for part in " ".join(command.split()).split(" && ")]
        for line in (*lines, *inline):
            if line.startswith("akashic ") and "…" not in line and "NAME" not in line and "…" not in line:
                found.append((_name(page), line))
    return sorted(set(found))


@pytest.mark.parametrize(("page", "line"), _commands())
def test_a_documented_command_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(re.sub(r" [<>|] .*", "", line), comments=True)[1:]
    while words and words[0] in ("-C", "--directory", "--json"):
        words = words[1 if words[0] == "--json" else 2 :]
    if words in (["--version"], ["--help"]):
        return
    assert words[0] in COMMANDS, f"{page}: there is no command `akashic {words[0]}`"
    command = importlib.import_module(COMMANDS[words[0]].module)
    parser = Parser(prog=f"akashic {words[0]}", allow_abbrev=False)
    command.configure(parser)
    _add_global_options(parser, suppress=True)
    incomplete = len(words) <= 2 or line.endswith(("--expect", "--break-on-failure"))
    try:
        with contextlib.suppress(SystemExit):  # --help ends the process
            parser.parse_args(words[1:])
    except UsageError as error:
        named = incomplete and re.search("required|expected one argument", error.message)
        assert named, f"{page}: `{line}`: {error.message}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_between_files_resolve(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert anchor in anchors, f"{page.name} links to {target}, which is no heading"


def _options(parser: argparse.ArgumentParser) -> set[str]:
    found = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found |= set().union(*(_options(below) for below in action.choices.values()))
    return found


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    known = set(OPTIONS_OF_OTHERS).union(*(_options(command_parser(name)) for name in COMMANDS))
    sources = "".join(file.read_text("utf-8") for file in SOURCES)
    makefile = (ROOT / "Makefile").read_text("utf-8")

    options = {name for name in re.findall(r"`(--[a-z][a-z-]+)[^`]*`", text) if name not in known}
    variables = {name for name in re.findall(r"\bAKASHIC_[A-Z_]+\b", text) if name not in sources}
    targets = {
        name
        for name in re.findall(r"^\$ make ([a-z-]+)|`make ([a-z-]+)`", text, re.MULTILINE)
        if not re.search(rf"^{''.join(name)}:", makefile, re.MULTILINE)
    }
    files = {
        name
        for name in re.findall(r"`((?:src|tests|docs|scripts|bench|campaign-console)/[\w./-]+)`", text)
        if not (ROOT / name).exists() and not (page.parent / name).exists()
    }
    assert not (options or variables or targets or files)


def test_a_message_names_commands_and_options_that_exist() -> None:
    wrong = []
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for line in re.findall(r"(?:`|^|: )akashic (?!does )([a-z]+(?: -{0,2}[a-z-]+)*)", node.value):
                    name, *words = line.split()
                    known = _options(command_parser(name)) if name in COMMANDS else set()
                    if name not in COMMANDS or {w for w in words if w.startswith("--")} - known:
                        wrong.append(f"{file.relative_to(ROOT)}:{node.lineno}: akashic {line}")
    assert not wrong


def _examples(key: str) -> list[tuple[str, str]]:
    return [
        (_name(page), block)
        for page in HAND_WRITTEN
        for block in _blocks(page, "yaml")
        if re.search(rf"^{key}:", block, re.MULTILINE)
    ]


@pytest.mark.parametrize(("page", "text"), [*_examples("environments"), *_examples("notifications")])
def test_an_example_of_akashic_yaml_is_valid(page: str, text: str) -> None:
    parse_config(text, page)


@pytest.mark.parametrize(("page", "text"), _examples("jobs"))
def test_an_example_of_a_workflow_is_valid(page: str, text: str) -> None:
    assert parse_workflow(text, page).jobs


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_page_names_no_place_of_its_authors(page: Path) -> None:
    text = page.read_text("utf-8")
    # The name on the public index belongs to another project.
    for word in (
        r"pip install '?akashic",
        r"(?<!file://)/(home|root|tmp)/\w",
        r"https?://\S+/simple\b",
    ):
        assert not re.search(word, text), f"{page.name} holds {word}"
