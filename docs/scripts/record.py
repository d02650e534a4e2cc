#!/usr/bin/env python3
"""Makes the terminal pictures in docs/images/: runs a command in a terminal of its own and draws what stood
there in the end, as SVG. Nothing is typed in by hand. Needs `pyte` (a terminal emulator) where it is run.

    python docs/scripts/record.py docs/images/run.svg --title "akashic run" --columns 70 -- akashic run
    python docs/scripts/record.py docs/images/up.svg --title "make up" --last 55 -- make up
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from html import escape
from pathlib import Path

COLORS = {
    "default": "#d7dae0", "black": "#5c6370", "red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341",
    "blue": "#79c0ff", "magenta": "#d2a8ff", "cyan": "#76e3ea", "white": "#f0f6fc",
    "brightblack": "#8b949e",
}  # fmt: skip
BACKGROUND, BAR, DIM = "#161b22", "#21262d", "#9aa4b1"
CELL_WIDTH, LINE_HEIGHT, MARGIN, BAR_HEIGHT = 8.4, 19, 16, 34


def capture(command: list[str], columns: int, rows: int) -> bytes:
    """What the command writes to a terminal of this size."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ.pop("CI", None)
        os.environ.pop("NO_COLOR", None)
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    written = bytearray()
    while True:
        try:
            chunk = os.read(master, 65_536)
        except OSError:  # Linux says EIO when the last writer has gone
            break
        if not chunk:
            break
        written += chunk
        sys.stderr.buffer.write(chunk)
        sys.stderr.flush()
    os.waitpid(pid, 0)
    return bytes(written)


def draw(written: bytes, columns: int, rows: int, title: str, first: int, last: int) -> str:
    """The final screen as SVG; `first` and `last` keep so many lines of its beginning and end (0: all)."""
    import pyte  # only who draws needs it

    screen = pyte.Screen(columns, rows)
    # A dim text has no place in the emulator: it is drawn as bright black, which is nothing else's colour.
    text = codecs.decode(written, "utf-8", "replace").replace("\x1b[2m", "\x1b[90m")
    pyte.Stream(screen).feed(text)
    lines = [screen.buffer[number] for number in range(rows)]
    used = max((n for n in range(rows) if screen.display[n].strip()), default=0) + 1
    shown: list[int | None] = list(range(used))
    if (first or last) and used > first + last:
        shown = [*range(first), *([None] if first else []), *range(used - last, used)]
    body = []
    for row, number in enumerate(shown):
        y = BAR_HEIGHT + MARGIN + (row + 0.75) * LINE_HEIGHT
        if number is None:
            body.append(f'<text x="{MARGIN}" y="{y:.1f}" fill="{DIM}">⋮</text>')
            continue
        body += _line(lines[number], columns, y)
    width, height = columns * CELL_WIDTH + 2 * MARGIN, BAR_HEIGHT + 2 * MARGIN + len(shown) * LINE_HEIGHT
    dots = "".join(
        f'<circle cx="{20 + 18 * n}" cy="17" r="5.5" fill="{color}"/>'
        for n, color in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">\n'
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>\n'
        f'<path d="M0 {BAR_HEIGHT}V8a8 8 0 0 1 8-8h{width - 16:.0f}a8 8 0 0 1 8 8v{BAR_HEIGHT - 8}z" '
        f'fill="{BAR}"/>\n'
        f"{dots}\n"
        "<g font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace\" "
        'font-size="14">\n'
        f'<text x="{width / 2:.0f}" y="22" fill="{DIM}" text-anchor="middle">{escape(title)}</text>\n'
        + "\n".join(body)
        + "\n</g>\n</svg>\n"
    )


def _line(line: object, columns: int, y: float) -> list[str]:
    pieces: list[tuple[int, str, str, bool]] = []
    for column in range(columns):
        cell = line[column]  # type: ignore[index]
        color = COLORS.get(cell.fg, f"#{cell.fg}" if len(cell.fg) == 6 else COLORS["default"])
        if pieces and pieces[-1][2:] == (color, cell.bold):
            start, text, *_ = pieces[-1]
            pieces[-1] = (start, text + cell.data, color, cell.bold)
        else:
            pieces.append((column, cell.data, color, cell.bold))
    found = []
    for start, text, color, bold in pieces:
        weight = ' font-weight="bold"' if bold else ""
        # SVG folds blanks into one, so each group of words is placed by itself.
        for words in re.finditer(r"\S+(?: \S+)*", text):
            x = MARGIN + (start + words.start()) * CELL_WIDTH
            found.append(
                f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}"{weight} '
                f'textLength="{len(words[0]) * CELL_WIDTH:.1f}">{escape(words[0])}</text>'
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("svg", type=Path)
    parser.add_argument("--title", required=True)
    parser.add_argument("--columns", type=int, default=104)
    parser.add_argument("--rows", type=int, default=400, help="more than the command ever writes")
    parser.add_argument("--first", type=int, default=0, help="keep so many lines of the beginning")
    parser.add_argument("--last", type=int, default=0, help="keep so many lines of the end")
    parser.add_argument("--raw", type=Path, help="keep, or with no command take, the terminal's bytes here")
    argv = sys.argv[1:]
    split = argv.index("--") if "--" in argv else len(argv)
    args, command = parser.parse_args(argv[:split]), argv[split + 1 :]
    if command:
        written = capture(command, args.columns, args.rows)
        if args.raw:
            args.raw.write_bytes(written)
    else:
        written = args.raw.read_bytes()
    args.svg.write_text(
        draw(written, args.columns, args.rows, args.title, args.first, args.last), encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
