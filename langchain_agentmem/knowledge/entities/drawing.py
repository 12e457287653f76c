"""Drawings of graphs as inline SVG, without another package.

A spring model places the dots: dots push each other away, and arrows pull theirs together (Fruchterman and Reingold, "Graph
Drawing by Force-directed Placement", 1991). It starts from a fixed spiral, so equal graphs have equal drawings.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#eeca3b")
_GREY = "#bab0ac"
_STEPS = 200
_MARGIN = 70
_LONGEST_LABEL = 24
_ARROW_HEAD = (
    '<defs><marker id="agentmem-arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto"><path d="M0,0L8,4L0,8z" fill="#999"/></marker></defs>'
)

Point = tuple[float, float]


class Dot(NamedTuple):
    """A dot of a drawing."""

    name: str
    kind: str = ""
    """Dots of one kind have one colour."""
    note: str = ""
    """Tooltip. Default: the name."""


class Arrow(NamedTuple):
    """An arrow of a drawing."""

    start: str
    end: str
    label: str
    note: str = ""
    """Tooltip. Default: the label."""
    dashed: bool = False


def drawn(dots: Sequence[Dot], arrows: Sequence[Arrow]) -> str:
    """Draw dots and arrows as SVG.

    Args:
        dots: The dots, with different names.
        arrows: The arrows. Those that start or end at a missing dot are left out.

    Example:
        >>> from langchain_agentmem.knowledge.entities.drawing import Arrow, Dot, drawn
        >>> drawn([Dot("Alice"), Dot("Acme")], [Arrow("Alice", "Acme", "works at")]).count("<circle")
        2
    """
    numbers = {dot.name: number for number, dot in enumerate(dots)}
    known = [arrow for arrow in arrows if arrow.start in numbers and arrow.end in numbers]
    size = max(320, min(1000, int(150 * max(1, len(dots)) ** 0.5) + 2 * _MARGIN))
    points = _points(len(dots), [(numbers[one.start], numbers[one.end]) for one in known], size)
    kinds = list(dict.fromkeys(dot.kind for dot in dots if dot.kind))
    colours = {"": _GREY, **{kind: _COLOURS[number % len(_COLOURS)] for number, kind in enumerate(kinds)}}
    parts = [_arrow(one, points[numbers[one.start]], points[numbers[one.end]]) for one in known]
    parts += [_dot(dot, point, colours[dot.kind]) for dot, point in zip(dots, points, strict=True)]
    parts += [
        f'<text x="8" y="{18 + 16 * number}" font-size="12" fill="{colours[kind]}">● {_short(kind)}</text>'
        for number, kind in enumerate(kinds)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 {size} {size}" '
        f'font-family="sans-serif" style="background:#fff">{_ARROW_HEAD}{"".join(parts)}</svg>'
    )


def _points(count: int, pairs: Sequence[tuple[int, int]], size: int) -> list[Point]:
    """Place dots in a square.

    Args:
        count: Number of dots.
        pairs: Numbers of the dots that an arrow connects.
        size: Width of the square.
    """
    import numpy as np

    if count == 0:
        return []
    angles = np.arange(count) * 2.399963  # the golden angle: no dot hides another
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.sqrt(np.arange(count) + 0.5)[:, None] / count**0.5
    distance = 1.4 / count**0.5
    starts, ends = (np.array([pair[side] for pair in pairs if pair[0] != pair[1]], dtype=int) for side in (0, 1))
    for step in range(_STEPS if count > 1 else 0):
        apart = points[:, None, :] - points[None, :, :]
        lengths = np.maximum(np.linalg.norm(apart, axis=2), 0.01)
        moves: Any = (apart * (distance**2 / lengths**2)[:, :, None]).sum(axis=1) - 0.1 * points
        springs = points[ends] - points[starts]
        pulls = springs * (np.linalg.norm(springs, axis=1) / distance)[:, None]
        np.add.at(moves, starts, pulls)
        np.add.at(moves, ends, -pulls)
        most = 0.2 * (1 - step / _STEPS) + 0.001
        points += moves * np.minimum(1, most / np.maximum(np.linalg.norm(moves, axis=1), 1e-9))[:, None]
    low, high = points.min(axis=0), points.max(axis=0)
    inside = np.where(high - low < 1e-6, 0.5, (points - low) / np.maximum(high - low, 1e-6))
    return [(float(x), float(y)) for x, y in inside * (size - 2 * _MARGIN) + _MARGIN]


def _dot(dot: Dot, point: Point, colour: str) -> str:
    x, y = point
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="11" fill="{colour}"/>'
    return f"<g>{_title(dot.note or dot.name)}{circle}{_label(x, y + 24, 12, '#222', dot.name)}</g>"


def _arrow(arrow: Arrow, start: Point, end: Point) -> str:
    (x, y), (u, v) = start, end
    length = ((u - x) ** 2 + (v - y) ** 2) ** 0.5
    if length < 1:  # a loop above the dot
        middle = x, y - 42
        path = f"M{x - 8:.1f},{y - 8:.1f}C{x - 45:.1f},{y - 50:.1f} {x + 45:.1f},{y - 50:.1f} {x + 8:.1f},{y - 8:.1f}"
    else:  # slightly bent, so that arrows in both directions are apart, and from edge to edge of the dots
        dx, dy = (u - x) / length, (v - y) / length
        middle = (x + u) / 2 - 10 * dy, (y + v) / 2 + 10 * dx
        path = (
            f"M{x + 12 * dx:.1f},{y + 12 * dy:.1f}Q{middle[0]:.1f},{middle[1]:.1f} {u - 13 * dx:.1f},{v - 13 * dy:.1f}"
        )
    dashes = ' stroke-dasharray="5 4" opacity="0.6"' if arrow.dashed else ""
    line = f'<path d="{path}" fill="none" stroke="#999" marker-end="url(#agentmem-arrow)"{dashes}/>'
    return f"<g>{_title(arrow.note or arrow.label)}{line}{_label(*middle, 10, '#777', arrow.label)}</g>"


def _title(text: str) -> str:
    return f"<title>{html.escape(text)}</title>"


def _label(x: float, y: float, size: int, colour: str, text: str) -> str:
    """Return a text with a white edge, which is readable above lines."""
    where = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="middle"'
    return f'<text {where} fill="{colour}" paint-order="stroke" stroke="#fff" stroke-width="3">{_short(text)}</text>'


def _short(text: str) -> str:
    return html.escape(text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…")
