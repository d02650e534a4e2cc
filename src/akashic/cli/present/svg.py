"""The plan as a drawing: each workflow a lane, its jobs from left to right in the order of their needs.

Plain SVG of our own, without scripts and outside references; its colours follow the reader's light or dark
setting. Everything that a workflow says is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from akashic.app.foresight import Foreseen
from akashic.app.selection import Request, Selection, Triggered
from akashic.cli.present.graph import UNKNOWN, Foresight, foreseen_of, job_facts, plan_stages
from akashic.cli.present.texts import label
from akashic.workflow.model import Job

MARGIN, GAP_X, GAP_Y = 24, 56, 16
BOX_HEIGHT, BOX_WIDTH_MIN, BOX_WIDTH_MAX = 46, 120, 300
HEADING_HEIGHT = 38
CHARACTER_WIDTH = 7.4
"""Of the widest usual system font at 13 px, so that a text never leaves its box."""

_STYLE = """
  .page { fill: #ffffff } .lane { fill: #f6f8fa; stroke: #d0d7de }
  .box { fill: #ffffff; stroke: #8c959f } .call { stroke-dasharray: 5 3 }
  .gate { stroke: #bf8700; stroke-width: 2 } .off { opacity: 0.55 }
  .edge { fill: none; stroke: #8c959f; stroke-width: 1.5 } .tip { fill: #8c959f }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px } .small { font-size: 11px; fill: #59636e }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .lane { fill: #151b23; stroke: #3d444d }
    .box { fill: #0d1117; stroke: #656c76 } .gate { stroke: #d29922 }
    .edge { stroke: #656c76 } .tip { fill: #656c76 } text { fill: #f0f6fc } .small { fill: #9198a1 }
  }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    job: Job
    foreseen: Foreseen
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.y + BOX_HEIGHT / 2


def plan_svg(selection: Selection, request: Request, foresight: Foresight | None = None) -> str:
    """The plan as one SVG document."""
    body: list[str] = []
    width, y = 360.0, float(MARGIN)
    for number, item in enumerate(selection.triggered):
        lane, lane_width, lane_height = _lane(item, request, number, y, foreseen_of(foresight, item))
        body += lane
        width, y = max(width, lane_width), y + lane_height + MARGIN
    for path, reason in selection.passed_over:
        text, shown_width = _fit(f"{path} does not run: {reason}", 110)
        body.append(f'  <text class="small" x="{MARGIN}" y="{y + 6:g}">{text}</text>')
        width, y = max(width, shown_width + 2 * MARGIN), y + 20
    if not body:
        body.append(f'  <text x="{MARGIN}" y="{y + 6:g}">nothing would run</text>')
        y += 20
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {y:g}" width="{width:g}" '
            f'height="{y:g}" role="img">',
            f"  <title>{_text(f'What runs on {selection.event_name}')}</title>",
            f"  <style>{_STYLE}  </style>",
            f'  <rect class="page" width="{width:g}" height="{y:g}"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def _lane(
    item: Triggered, request: Request, number: int, top: float, foreseen: Mapping[str, Foreseen]
) -> tuple[list[str], float, float]:
    """A workflow's drawing, the page width that it needs, and its height."""
    workflow = item.loaded.workflow
    stages = plan_stages(item, request)
    boxes = _place(stages, top, foreseen)
    title, title_width = _fit(f"{workflow.title} · {item.event_name}", 80)
    right = max([box.x + box.width for box in boxes.values()], default=0.0)
    width = max(right, title_width + 2 * MARGIN) + MARGIN
    rows = max((len(stage) for stage in stages), default=0)
    height = HEADING_HEIGHT + rows * (BOX_HEIGHT + GAP_Y) + GAP_Y / 2
    tip = f"tip{number}"
    lines = [
        f'  <rect class="lane" x="{MARGIN / 2:g}" y="{top:g}" width="{width - MARGIN:g}" '
        f'height="{height:g}" rx="10"/>',
        f'  <text class="title" x="{MARGIN}" y="{top + 24:g}">{title}</text>',
        f'  <marker id="{tip}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="tip" d="M0 0 8 4 0 8z"/></marker>',
    ]
    for box in boxes.values():
        lines += [_edge(boxes[need], box, tip) for need in _direct_needs(box.job, boxes)]
    for box in boxes.values():
        lines += _box(box)
    return lines, width, height


def _direct_needs(job: Job, boxes: dict[str, _Box]) -> list[str]:
    """The needs that no other need already stands behind: the drawing shows no detour twice."""
    behind: set[str] = set()
    remaining = [inner for need in job.needs if need in boxes for inner in boxes[need].job.needs]
    while remaining:
        need = remaining.pop()
        if need not in behind and need in boxes:
            behind.add(need)
            remaining.extend(boxes[need].job.needs)
    return [need for need in job.needs if need in boxes and need not in behind]


def _place(stages: list[list[Job]], top: float, foreseen: Mapping[str, Foreseen]) -> dict[str, _Box]:
    boxes: dict[str, _Box] = {}
    x = float(MARGIN)
    rows = max((len(stage) for stage in stages), default=0)
    for stage in stages:
        texts = [
            len(label(text))
            for job in stage
            for text in (job.id, job_facts(job, foreseen.get(job.id, UNKNOWN), needs=False))
        ]
        width = min(max(max(texts, default=0) * CHARACTER_WIDTH + 24, BOX_WIDTH_MIN), BOX_WIDTH_MAX)
        # A short column stands in the middle of the tall ones: edges stay short.
        y = top + HEADING_HEIGHT + (rows - len(stage)) * (BOX_HEIGHT + GAP_Y) / 2
        for job in stage:
            boxes[job.id] = _Box(job=job, foreseen=foreseen.get(job.id, UNKNOWN), x=x, y=y, width=width)
            y += BOX_HEIGHT + GAP_Y
        x += width + GAP_X
    return boxes


def _box(box: _Box) -> list[str]:
    kinds = "box" + (" call" if box.job.uses else "") + (" gate" if box.job.environment is not None else "")
    characters = int((box.width - 24) / CHARACTER_WIDTH)
    facts = job_facts(box.job, box.foreseen, needs=False)
    everything = ": ".join(text for text in (box.job.id, job_facts(box.job, box.foreseen)) if text)
    name, _ = _fit(box.job.id, characters)
    small, _ = _fit(facts, int(characters * 1.15))
    name_y = box.y + (20 if facts else 28)
    lines = [
        '  <g class="off">' if box.foreseen.skipped else "  <g>",
        f"    <title>{_text(everything)}</title>",
        f'    <rect class="{kinds}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" '
        f'height="{BOX_HEIGHT}" rx="6"/>',
        f'    <text x="{box.x + 12:g}" y="{name_y:g}">{name}</text>',
    ]
    if facts:
        lines.append(f'    <text class="small" x="{box.x + 12:g}" y="{box.y + 36:g}">{small}</text>')
    return [*lines, "  </g>"]


def _edge(start: _Box, end: _Box, tip: str) -> str:
    x1, x2 = start.x + start.width, end.x - 1
    bend = max(GAP_X / 2, (x2 - x1) / 3)
    return (
        f'  <path class="edge" marker-end="url(#{tip})" d="M{x1:g} {start.middle:g}'
        f'C{x1 + bend:g} {start.middle:g} {x2 - bend:g} {end.middle:g} {x2:g} {end.middle:g}"/>'
    )


def _text(text: str) -> str:
    """For XML: no markup, no character that XML forbids."""
    return escape("".join(one if one.isprintable() else "\ufffd" for one in label(text)))


def _fit(text: str, characters: int) -> tuple[str, float]:
    """The text cut to a number of characters and escaped, and its width."""
    cut = text if len(text) <= characters else text[: characters - 1] + "…"
    return _text(cut), len(cut) * CHARACTER_WIDTH
