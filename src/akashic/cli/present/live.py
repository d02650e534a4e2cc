"""The live view on a terminal: a line for each job, redrawn in place; finished runs scroll up."""

from __future__ import annotations

import os
import threading
import time
import unicodedata
from functools import lru_cache
from typing import TextIO

from akashic.cli.present.style import Style, duration
from akashic.cli.present.texts import headline, job_kind, job_note, label
from akashic.engine.events import RunEvent
from akashic.engine.runstate import RunState
from akashic.engine.view import JobView, RunView, view_of

FRAME_INTERVAL_S = 0.1
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Screen:
    """The part of the terminal below what has scrolled up; shared by the runs that are driven at once."""

    def __init__(self, out: TextIO, style: Style) -> None:
        self.style = style
        self._out = out
        self._lock = threading.RLock()
        self._panels: list[LivePresenter] = []
        self._drawn = 0
        self._frame = 0
        self._paused = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="screen", daemon=True)
        self._thread.start()
        out.write(_HIDE_CURSOR)

    def add(self, panel: LivePresenter) -> None:
        with self._lock:
            self._panels.append(panel)

    def remove(self, panel: LivePresenter) -> None:
        """Leave the panel's last picture above and go on below it."""
        with self._lock:
            if panel in self._panels:
                self._erase()
                self._panels.remove(panel)
                for line in panel.picture(self._frame):
                    self._out.write(line + "\n")
                self._draw()

    def pause(self) -> None:
        """Take the picture away so that something can be asked; `resume` brings it back."""
        with self._lock:
            self._paused += 1
            self._erase()
            self._out.write(_SHOW_CURSOR)
            self._out.flush()

    def resume(self) -> None:
        with self._lock:
            self._paused -= 1
            self._out.write(_HIDE_CURSOR)

    def above(self, text: str) -> None:
        """Write a line that scrolls up."""
        with self._lock:
            self._erase()
            self._out.write(text + "\n")
            self._draw()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        with self._lock:
            self._erase()
            self._out.write(_SHOW_CURSOR)
            self._out.flush()

    def _loop(self) -> None:
        while not self._stopped.wait(FRAME_INTERVAL_S):
            with self._lock:
                if not self._paused:
                    self._frame += 1
                    self._erase()
                    self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        if self._paused:
            return
        size = terminal_size(self._out)
        lines = [line for panel in self._panels for line in panel.picture(self._frame)]
        if len(lines) > size.lines - 1:
            hidden = len(lines) - (size.lines - 2)
            lines = [*lines[: size.lines - 2], self.style("dim", f"  … {hidden} more")]
        for line in lines:
            self._out.write(_cut(line, size.columns) + "\x1b[K\n")
        self._drawn = len(lines)
        self._out.flush()


class LivePresenter:
    """A RunObserver that draws its run on a Screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._view: RunView | None = None
        self._headline = ""
        self._steps: dict[str, str] = {}
        screen.add(self)

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        self._view = view_of(state, at)
        if not self._headline:
            self._headline = headline(state)

    def job_ready(self, key: str, notes: tuple[str, ...]) -> None:
        for note in notes:
            self._screen.above(self._screen.style("dim", label(f"{key}: {note}")))

    def step_started(self, key: str, number: int, name: str) -> None:
        self._steps[key] = name

    def lines(self, key: str, number: int, block: str) -> None:
        return

    def close(self) -> None:
        self._screen.remove(self)

    def picture(self, frame: int) -> list[str]:
        """The run as lines, as wide as they like."""
        view, style = self._view, self._screen.style
        if view is None:
            return []
        width = max((_columns(label(job.name)) + 2 * job.depth for job in view.jobs), default=0)
        return [style("bold", self._headline)] + [self._job(job, width, frame) for job in view.jobs]

    def _job(self, job: JobView, width: int, frame: int) -> str:
        style, kind = self._screen.style, job_kind(job)
        mark = style(kind, _SPINNER[frame % len(_SPINNER)]) if kind == "running" else style.mark(kind)
        note = job_note(job)
        if job.status == "running" and job.started_at:
            step = self._steps.get(job.key, "")
            note = f"{duration(time.time() - job.started_at)}  {step}"
        name = "  " * job.depth + label(job.name)
        name += " " * (width - _columns(name))
        return f"  {mark} {name}  {style('dim', label(note))}"


def terminal_size(out: TextIO) -> os.terminal_size:
    """The terminal's columns and lines; 80 by 24 when it does not say."""
    try:
        size = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        return os.terminal_size((80, 24))
    return size if size.columns and size.lines else os.terminal_size((80, 24))


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _columns(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_width, text))


def _cut(line: str, columns: int) -> str:
    """The line no wider than the terminal, colours not counted; a wrapped line would break the redrawing."""
    shown = 0
    index = 0
    while index < len(line):
        if line[index] == "\x1b":
            index = line.index("m", index) + 1
            continue
        shown += _width(line[index])
        if shown > columns - 1:
            return line[:index] + "…\x1b[0m"
        index += 1
    return line
