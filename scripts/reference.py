#!/usr/bin/env python3
"""Writes the generated pages of docs/reference/ from the program itself: `make docs`.

`--check` writes nothing and ends with 1 when a page is stale. Pages do not depend on Python's version: the
parsers' own data is printed, not argparse's help text.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import inspect as types

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from akashic.actions import registry  # noqa: E402
from akashic.cli import dispatch  # noqa: E402
from akashic.delivery import config, config_file  # noqa: E402
from akashic.engine import deployment_events, events  # noqa: E402

NOTICE = "<!-- Written by scripts/reference.py: change the program, then run `make docs`. -->\n"
CURE = "run `make docs`"
FOLDER = ROOT / "docs" / "reference"


def pages() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    return {
        FOLDER / "cli.md": cli_page(),
        FOLDER / "akashic-yaml.md": config_page(),
        FOLDER / "akashic.schema.json": json.dumps(config_file.schema(), indent=2, sort_keys=True) + "\n",
        FOLDER / "actions.md": actions_page(),
        FOLDER / "events.md": events_page(),
    }


# The command line.


def parser_of(name: str) -> argparse.ArgumentParser:
    """The real parser of `akashic NAME`."""
    command = importlib.import_module(dispatch.COMMANDS[name].module)
    parser = dispatch.Parser(prog=f"akashic {name}", description=command.HELP, allow_abbrev=False)
    command.configure(parser)
    dispatch._add_global_options(parser, suppress=True)
    return parser


def cli_page() -> str:
    lines = [
        NOTICE + "# Command line\n",
        "Every command takes these options, before or after its name:\n",
        "| option | meaning |\n| --- | --- |",
        "| `-C DIR`, `--directory DIR` | work in DIR instead of the current folder |",
        "| `--json` | one JSON object a line on standard output, for machines |",
        "| `--no-color` | no colour and no live view (`NO_COLOR` and `CI` do the same) |",
        "| `--debug` | show where an error came from |",
        "| `-h`, `--help` | show the options |\n",
        "`akashic --version` prints the version. Exit codes: [exit-codes.md](exit-codes.md).\n",
    ]
    for group in (dispatch.RUN, dispatch.DELIVER, dispatch.KEEP, dispatch.CHECK):
        lines.append(f"## {group}\n")
        for name, entry in dispatch.COMMANDS.items():
            if entry.group == group:
                lines += _command(parser_of(name), f"akashic {name}", entry.help, level=3)
    return "\n".join(lines)


def _command(parser: argparse.ArgumentParser, title: str, help_text: str, *, level: int) -> Iterator[str]:
    shown = [
        action for action in parser._actions if action.help != argparse.SUPPRESS and not _is_global(action)
    ]
    subs = [action for action in shown if isinstance(action, argparse._SubParsersAction)]
    positionals = [action for action in shown if not action.option_strings and action not in subs]
    options = [action for action in shown if action.option_strings]
    words = [title, *(_operand(action) for action in positionals)]
    words += ["ACTION …"] if subs else []
    words += ["[options]"] if options else []
    yield f"{'#' * level} `{' '.join(words)}`\n"
    yield f"{help_text[0].upper()}{help_text[1:]}.\n"
    if positionals or options:
        yield "| argument | meaning |\n| --- | --- |"
        for action in (*positionals, *options):
            yield f"| {_names(action)} | {_cell(_meaning(action))} |"
        yield ""
    for sub in subs:
        helps = {choice.dest: choice.help or "" for choice in sub._choices_actions}
        for name, inner in sub.choices.items():
            yield from _command(inner, f"{title} {name}", helps.get(name, "") or name, level=level + 1)


def _is_global(action: argparse.Action) -> bool:
    return bool({"--json", "--debug", "--no-color", "--directory", "--help"} & set(action.option_strings))


def _operand(action: argparse.Action) -> str:
    word = _value_name(action)
    if action.nargs == "?":
        return f"[{word}]"
    return f"[{word} …]" if action.nargs == "*" else f"{word} …" if action.nargs == "+" else word


def _value_name(action: argparse.Action) -> str:
    if action.choices is not None and action.metavar is None:
        return (
            "\\|".join(str(choice) for choice in action.choices)
            if not action.option_strings
            else "|".join(str(choice) for choice in action.choices)
        )
    name = action.metavar or action.dest
    return name if isinstance(name, str) and name != action.dest else action.dest.upper()


def _names(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _value_name(action).replace("|", "\\|").replace("\\\\", "\\")
    if not action.option_strings:
        return f"`{value}`"
    suffix = f" {value}" if value else ""
    return ", ".join(f"`{name}{suffix}`" for name in action.option_strings)


def _meaning(action: argparse.Action) -> str:
    text = action.help or ""
    default = action.default
    if action.choices is not None and isinstance(default, str) and default and f"({default})" not in text:
        text += f" ({default})"
    if isinstance(action, argparse._AppendAction):
        text += "; may be given again"
    return text


# akashic.yaml.


def config_page() -> str:
    root = types.type_info(config.Config)
    assert isinstance(root, types.StructType)
    lines = [
        NOTICE + "# akashic.yaml\n",
        "`akashic config check` says what is wrong in a file, with the line and what was expected;",
        "`akashic config show` prints it with all defaults.",
        "For editors there is a JSON schema beside this page, [akashic.schema.json](akashic.schema.json):\n",
        "```yaml\n# yaml-language-server: $schema=docs/reference/akashic.schema.json\n```\n",
        "A key without a default must be given. Names of environments compare without regard to case.\n",
    ]
    for title, kind in _structs(root):
        lines += _struct_section(title, kind)
    return "\n".join(lines)


def _structs(root: types.StructType) -> list[tuple[str, types.StructType]]:
    """The structures in the order of a reader: outside first."""
    found: dict[type, tuple[str, types.StructType]] = {}

    def visit(title: str, kind: Any) -> None:
        match kind:
            case types.Metadata():
                visit(title, kind.type)
            case types.UnionType():
                for member in kind.types:
                    visit(title, member)
            case types.DictType():
                visit(f"{title}.NAME", kind.value_type)
            case types.ListType() | types.VarTupleType():
                visit(f"{title}[]", kind.item_type)
            case types.StructType() if kind.cls not in found:
                tag = f" (`{kind.tag_field}: {kind.tag}`)" if kind.tag_field else ""
                found[kind.cls] = (f"`{title or 'the file'}`{tag}" if title else "The file", kind)
                for field in kind.fields:
                    visit(f"{title}.{field.encode_name}".lstrip("."), field.type)

    visit("", root)
    return list(found.values())


def _struct_section(title: str, kind: types.StructType) -> Iterator[str]:
    yield f"## {title}\n"
    doc = _paragraphs(kind.cls.__doc__ or "")
    if doc:
        yield doc + "\n"
    if not kind.fields:
        yield "It has no keys.\n"
        return
    yield "| key | value | default |\n| --- | --- | --- |"
    for field in kind.fields:
        yield f"| `{field.encode_name}` | {_type_text(field.type)} | {_default(field)} |"
    yield ""


def _type_text(kind: Any) -> str:
    match kind:
        case types.Metadata():
            return _type_text(kind.type)
        case types.StrType():
            return "text that begins with `/`" if kind.pattern == "^/" else "text"
        case types.BoolType():
            return "`true` or `false`"
        case types.IntType() | types.FloatType():
            word = "whole number" if isinstance(kind, types.IntType) else "number"
            low = (
                f" from {kind.ge:g}"
                if kind.ge is not None
                else f" above {kind.gt:g}"
                if kind.gt is not None
                else ""
            )
            return word + low + (f" to {kind.le:g}" if kind.le is not None else "")
        case types.LiteralType():
            return ", ".join(f"`{value}`" for value in kind.values)
        case types.ListType() | types.VarTupleType():
            limit = f", at most {kind.max_length}" if kind.max_length is not None else ""
            return f"list of {_type_text(kind.item_type)}{limit}"
        case types.DictType():
            return f"name → {_type_text(kind.value_type)}"
        case types.UnionType():
            members = [member for member in kind.types if not isinstance(member, types.NoneType)]
            return " or ".join(_type_text(member) for member in members)
        case types.StructType():
            return f"keys (`{kind.tag}`)" if kind.tag_field else "keys"
    return "anything"


def _default(field: Any) -> str:
    if field.required:
        return "—"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    if value is None:
        return "none"
    if value in ("", (), [], {}):
        return "empty"
    if isinstance(value, tuple):
        return (
            ", ".join(f"`{item}`" for item in msgspec.to_builtins(value))
            if not any(isinstance(item, msgspec.Struct) for item in value)
            else "the console"
        )
    return (
        f"`{value:g}`"
        if isinstance(value, float)
        else f"`{str(value).lower() if isinstance(value, bool) else value}`"
    )


# Built-in actions.


def actions_page() -> str:
    lines = [
        NOTICE + "# Built-in actions\n",
        "These actions need no network: Akashic brings an implementation of its own that follows the inputs",
        "and outputs of the versions named. Any other version, and any other action, is fetched with git",
        "once and then taken from the cache. `--no-builtin` fetches even these.\n",
        "An input that is documented for the action and that Akashic cannot honour is an error where it asks",
        "for something (the column *refused*), never ignored. An unknown input is a warning, as on GitHub.\n",
    ]
    for name in registry.BUILTINS:
        builtin = registry.find(name)
        assert builtin is not None
        majors = registry.MAJORS[name]
        lines.append(f"## `{name}`\n")
        lines.append(_paragraphs(_module_text(name)) + "\n")
        lines.append(
            f"Versions: v{majors.start} to v{majors.stop - 1}. "
            f"Outputs: {', '.join(f'`{output}`' for output in builtin.outputs) or 'none'}.\n"
        )
        lines.append("| input | default | refused |\n| --- | --- | --- |")
        for spec in builtin.inputs:
            default = f"`{_cell(spec.default)}`" if spec.default else ""
            required = " (required)" if spec.required else ""
            refused = _cell(spec.refused)
            values = [f"`{value}`" for value in spec.allowed if value]
            if refused and values:
                refused += f"; accepted: {', '.join(values)}"
            lines.append(f"| `{spec.name}`{required} | {default} | {refused} |")
        lines.append("")
    return "\n".join(lines)


def _module_text(name: str) -> str:
    module, _ = registry.BUILTINS[name].split(":")
    doc = importlib.import_module(f"akashic.actions.{module}").__doc__ or ""
    return doc.partition("\n\n")[2] or doc


# Events.


def events_page() -> str:
    lines = [
        NOTICE + "# Events of the journal\n",
        "Everything that happens is an event in `.akashic/journal.db`. `akashic journal show` prints them,",
        "`akashic journal verify` checks the chain of their hashes. A stream `run/ID` holds a run,",
        "`environment/NAME` the deployments of an environment.\n",
        "A value that several events share is described where it is first used.\n",
    ]
    for title, union in (
        ("A run", events.RunEvent),
        ("An environment", deployment_events.AnyDeploymentEvent),
    ):
        lines.append(f"## {title}\n")
        for kind in get_args(union):
            info = types.type_info(kind)
            assert isinstance(info, types.StructType)
            lines.append(f"### `{kind.__name__}`\n")
            lines.append(_paragraphs(kind.__doc__ or "") + "\n")
            if info.fields:
                fields = ", ".join(f"`{field.encode_name}`" for field in info.fields)
                lines.append(f"Fields: {fields}.\n")
    return "\n".join(lines)


# Text.


def _paragraphs(doc: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", doc.strip())).replace(
        "|", "\\|"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(description="write the generated pages of docs/reference/")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    check = parser.parse_args().check
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is stale: {CURE}" if check else f"wrote {path.relative_to(ROOT)}")
        if not check:
            path.write_text(pages()[path], "utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
