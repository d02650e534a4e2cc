"""Workflow commands: lines of output that speak to the runner (`::name key=value::data`, `##[name
key=value]data`).

Behaviour: GitHub's "Workflow commands for GitHub Actions"; where that is silent, the runner (a `::` command
begins its line, a `##[` command stands anywhere in it; names are case-insensitive; unknown names are output).
Environment and PATH never change through output unless ACTIONS_ALLOW_UNSECURE_COMMANDS allows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, MutableMapping

import msgspec
from msgspec.structs import replace

from akashic.engine.requests import Annotation
from akashic.runner.matchers import MatcherError, Matchers

# Anchored as a whole: an alternative that is tried at every character makes a long line take quadratic time.
_COLONS = re.compile(rb"^[^\S\n]*::[^\n]*", re.MULTILINE)
_COLONS_OR_BRACKETS = re.compile(rb"^(?:[^\S\n]*::|[^\n]*##\[)[^\n]*", re.MULTILINE)


def candidates(block: bytes) -> Iterator[tuple[int, int]]:
    """Where the lines of a block that may be commands begin and end (before the line end)."""
    brackets = b"##[" in block
    if brackets or b"::" in block:
        for found in (_COLONS_OR_BRACKETS if brackets else _COLONS).finditer(block):
            yield found.span()


ANNOTATIONS_PER_LEVEL_MAX = 10
"""What GitHub keeps of one step for each level; the log has them all."""

UNSECURE_REFUSED = (
    "The `{}` command is disabled. Please upgrade to using Environment Files or opt into unsecure command "
    "execution by setting the `ACTIONS_ALLOW_UNSECURE_COMMANDS` environment variable to `true`. For more "
    "information see: https://github.blog/changelog/"
    "2020-10-01-github-actions-deprecating-set-env-and-add-path-commands/"
)
DEPRECATED = (
    "The `{}` command is deprecated and will be disabled soon. Please upgrade to using Environment Files. "
    "For more information see: https://github.blog/changelog/2022-10-11-github-actions-deprecating-save-state-and-set-output-commands/"
)
BLOCKED_VARIABLES = frozenset({"NODE_OPTIONS"})

_NAMES = frozenset(
    [
        "set-env",
        "add-path",
        "set-output",
        "save-state",
        "add-mask",
        "add-matcher",
        "remove-matcher",
        "debug",
        "notice",
        "warning",
        "error",
        "group",
        "endgroup",
        "echo",
        "stop-commands",
    ]
)


class Command(msgspec.Struct, frozen=True):
    """A parsed command; property names are lower case."""

    name: str
    properties: dict[str, str]
    data: str


def parse_command(line: str, names: frozenset[str] = _NAMES) -> Command | None:
    """The command that `line` holds, None when it is plain output. `names` are the names that count."""
    stripped = line.lstrip()
    if stripped.startswith("::"):
        end = stripped.find("::", 2)
        if end >= 0:
            name, properties = _head(stripped[2:end], ",", names)
            if name:
                unescaped = {key: _unescape_property(value) for key, value in properties.items()}
                return Command(name, unescaped, _unescape_data(stripped[end + 2 :]))
    start = line.find("##[")
    if start >= 0:
        end = line.find("]", start)
        if end >= 0:
            name, properties = _head(line[start + 3 : end], ";", names)
            if name:
                unescaped = {key: _unescape_bracket(value) for key, value in properties.items()}
                return Command(name, unescaped, _unescape_bracket(line[end + 1 :]))
    return None


def _head(text: str, separator: str, names: frozenset[str]) -> tuple[str, dict[str, str]]:
    name, _, rest = text.partition(" ")
    name = name.lower()
    if name not in names:
        return "", {}
    pairs = (part.split("=", 1) for part in rest.strip().split(separator) if "=" in part)
    return name, {key.strip().lower(): value for key, value in pairs}


def _unescape_data(text: str) -> str:
    if "%" not in text:
        return text
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def _unescape_property(text: str) -> str:
    if "%" not in text:
        return text
    return (
        text.replace("%0D", "\r")
        .replace("%0A", "\n")
        .replace("%3A", ":")
        .replace("%2C", ",")
        .replace("%25", "%")
    )


def _unescape_bracket(text: str) -> str:
    if "%" not in text:
        return text
    return (
        text.replace("%3B", ";")
        .replace("%0D", "\r")
        .replace("%0A", "\n")
        .replace("%5D", "]")
        .replace("%25", "%")
    )


class Effects(msgspec.Struct):
    """What a step's commands and files change; the job takes it over when the step has ended."""

    outputs: dict[str, str] = msgspec.field(default_factory=dict)
    state: dict[str, str] = msgspec.field(default_factory=dict)
    env: dict[str, str] = msgspec.field(default_factory=dict)
    path: list[str] = msgspec.field(default_factory=list)
    annotations: list[Annotation] = msgspec.field(default_factory=list)
    summary: str = ""
    failed: bool = False

    def annotate(self, annotation: Annotation, *, mask: Callable[[str], str]) -> None:
        """Keep an annotation, masked, up to GitHub's number for its level."""
        kept = sum(1 for known in self.annotations if known.level == annotation.level)
        if kept < ANNOTATIONS_PER_LEVEL_MAX:
            self.annotations.append(
                replace(
                    annotation,
                    message=mask(annotation.message),
                    title=mask(annotation.title),
                    file=mask(annotation.file),
                )
            )


class Commands:
    """Executes the commands of one step. `write` takes lines for the log (they are masked there);
    `read_file` opens a problem matcher's file as the job sees it."""

    def __init__(
        self,
        *,
        effects: Effects,
        add_mask: Callable[[str], None],
        write: Callable[[str], None],
        matchers: Matchers,
        read_file: Callable[[str], bytes | None],
        env: MutableMapping[str, str],
        mask_text: Callable[[str], str],
        debug: bool = False,
    ) -> None:
        self._effects = effects
        self._add_mask = add_mask
        self._write = write
        self._matchers = matchers
        self._read_file = read_file
        self._env = env
        self._mask_text = mask_text
        self._debug = debug
        self._echo = debug
        self._stop_token = ""
        self._warned: set[str] = set()

    def process(self, line: str) -> bool:
        """Execute `line` if it is a command; False when it is output."""
        if self._stop_token:
            command = parse_command(line, frozenset({self._stop_token}))
            if command is None:
                return False
            self._stop_token = ""
            self._write(line)
            return True
        command = parse_command(line)
        if command is None:
            return False
        if command.name == "stop-commands":
            self._stop(command, line)
            return True
        if self._echo and command.name not in (
            "add-mask",
            "debug",
            "notice",
            "warning",
            "error",
            "group",
            "endgroup",
            "echo",
        ):
            self._write(line)
        try:
            self._execute(command)
        except CommandError as error:
            shown = command.name if command.name == "add-mask" else line.strip()
            self.error(f"Unable to process command '{shown}' successfully.")
            self.error(str(error))
            self._effects.failed = True
        return True

    def error(self, message: str) -> None:
        """Log an error of the runner's own and keep it as an annotation."""
        self._issue("error", message, {})

    def warning(self, message: str) -> None:
        """Log a warning of the runner's own and keep it as an annotation."""
        self._issue("warning", message, {})

    def _stop(self, command: Command, line: str) -> None:
        token = command.data.strip().lower()
        # A token that is a command's name, or empty, would let the next ordinary command resume.
        if (not token or token in _NAMES or token == "pause-logging") and not self._unsecure_allowed():
            self.error(f"Invalid commands stop token: '{command.data}'. Use a random, unguessable word.")
            self._effects.failed = True
            return
        self._write(line)
        self._stop_token = token

    def _execute(self, command: Command) -> None:
        match command.name:
            case "error" | "warning" | "notice":
                self._issue(command.name, command.data, command.properties)
            case "debug":
                if self._debug:
                    self._write("\n".join(f"##[debug]{line}" for line in command.data.split("\n")))
            case "group":
                self._write(f"##[group]{command.data}")
            case "endgroup":
                self._write("##[endgroup]")
            case "add-mask":
                self._mask(command)
            case "echo":
                self._set_echo(command.data)
            case "set-output" | "save-state":
                self._deprecated(command)
            case "set-env" | "add-path":
                self._unsecure(command)
            case "add-matcher" | "remove-matcher":
                self._matcher(command)

    def _issue(self, level: str, message: str, properties: dict[str, str]) -> None:
        self._write(f"##[{level}]{message}")
        self._effects.annotate(
            Annotation(
                level=level,  # type: ignore[arg-type]
                message=message,
                title=properties.get("title", ""),
                file=properties.get("file", ""),
                line=_number(properties.get("line", "")),
                end_line=_number(properties.get("endline", "")),
                column=_number(properties.get("col", "")),
                end_column=_number(properties.get("endcolumn", "")),
            ),
            mask=self._mask_text,
        )

    def _mask(self, command: Command) -> None:
        if not command.data.strip():
            self.warning("Can't add secret mask for empty string in ##[add-mask] command.")
            return
        self._add_mask(command.data)
        if self._echo:
            self._write("::add-mask::***")

    def _set_echo(self, data: str) -> None:
        value = data.strip().lower()
        if value not in ("on", "off"):
            raise CommandError(
                f"Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: "
                f"'{value}'."
            )
        self._echo = value == "on"

    def _deprecated(self, command: Command) -> None:
        name = command.properties.get("name", "")
        if not name:
            raise CommandError(f"Required field 'name' is missing in ##[{command.name}] command.")
        if command.name not in self._warned:
            self._warned.add(command.name)
            self.warning(DEPRECATED.format(command.name))
        target = self._effects.outputs if command.name == "set-output" else self._effects.state
        target[name] = command.data

    def _unsecure(self, command: Command) -> None:
        if not self._unsecure_allowed():
            raise CommandError(UNSECURE_REFUSED.format(command.name))
        if command.name == "add-path":
            if not command.data:
                raise CommandError("Required path is missing in ##[add-path] command.")
            self._effects.path.append(command.data)
            return
        name = command.properties.get("name", "")
        if not name:
            raise CommandError("Required field 'name' is missing in ##[set-env] command.")
        if name.upper() in BLOCKED_VARIABLES:
            self.error(f"Can't update {name} environment variable using ::set-env:: command.")
            return
        self._effects.env[name] = command.data

    def _unsecure_allowed(self) -> bool:
        return self._env.get("ACTIONS_ALLOW_UNSECURE_COMMANDS", "").strip().lower() == "true"

    def _matcher(self, command: Command) -> None:
        try:
            if command.name == "remove-matcher":
                self._matchers.remove(command.properties.get("owner", "") or command.data)
                return
            if not command.data:
                raise CommandError("File path must be specified.")
            content = self._read_file(command.data)
            if content is None:
                raise CommandError(f"Problem matcher file not found: '{command.data}'.")
            self._matchers.add(content)
        except MatcherError as error:
            raise CommandError(str(error)) from error


class CommandError(Exception):
    """A command that cannot be executed: the step fails, the message is its error."""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
