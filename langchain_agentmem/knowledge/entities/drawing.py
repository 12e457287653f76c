"""A graph as a picture: inline SVG, without any other package.

Where the dots lie, springs say: all push each other away, and arrows pull theirs together (Fruchterman and Reingold, "Graph
Drawing by Force-directed Placement", 1991), from a circle, so that the same graph always looks the same.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#eeca3b")
_GREY = "#bab0ac"
_STEPS = 200
_MARGIN = 70
_LONGEST = 24


class Dot(NamedTuple):
    """What is drawn as a dot."""

    name: str
    kind: str = ""
    """Those of a kind have one colour."""
    note: str = ""
    """Shown where the pointer is."""


class Arrow(NamedTuple):
    """What is drawn as an arrow."""

    start: str
    end: str
    label: str
    note: str = ""
    ended: bool = False
    """Whether it is dashed."""


def drawn(dots: Sequence[Dot], arrows: Sequence[Arrow]) -> str:
    """Dots and arrows as SVG.

    Args:
        dots: The dots, each of another name.
        arrows: The arrows; those from or to what is no dot are left out.

    Example:
        >>> from langchain_agentmem.knowledge.entities.drawing import Arrow, Dot, drawn
        >>> drawn([Dot("Alice"), Dot("Acme")], [Arrow("Alice", "Acme", "works at")]).count("<circle")
        2
    """
    numbers = {dot.name: at for at, dot in enumerate(dots)}
    known = [arrow for arrow in arrows if arrow.start in numbers and arrow.end in numbers]
    size = max(320, min(1000, int(150 * max(1, len(dots)) ** 0.5) + 2 * _MARGIN))
    places = _places(len(dots), [(numbers[one.start], numbers[one.end]) for one in known], size)
    named = dict.fromkeys(dot.kind for dot in dots if dot.kind)
    kinds = {"": _GREY, **{kind: _COLOURS[at % len(_COLOURS)] for at, kind in enumerate(named)}}
    lines = [_arrow(one, places[numbers[one.start]], places[numbers[one.end]]) for one in known]
    circles = [_dot(dot, place, kinds[dot.kind]) for dot, place in zip(dots, places, strict=True)]
    legend = [
        f'<text x="8" y="{18 + 16 * at}" font-size="12" fill="{kinds[kind]}">● {_short(kind)}</text>'
        for at, kind in enumerate(named)
    ]
    marker = (
        '<defs><marker id="agentmem-arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0,0L8,4L0,8z" fill="#999"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 {size} {size}" '
        f'font-family="sans-serif" style="background:#fff">{marker}{"".join((*lines, *circles, *legend))}</svg>'
    )


def _places(count: int, pairs: Sequence[tuple[int, int]], size: int) -> list[tuple[float, float]]:
    import numpy as np

    if count == 0:
        return []
    angles = np.arange(count) * 2.399963  # the golden angle: none lies behind another
    at = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.sqrt(np.arange(count) + 0.5)[:, None] / count**0.5
    distance = 1.4 / count**0.5
    starts, ends = (np.array([pair[side] for pair in pairs if pair[0] != pair[1]], dtype=int) for side in (0, 1))
    for step in range(_STEPS if count > 1 else 0):
        apart = at[:, None, :] - at[None, :, :]
        lengths = np.maximum(np.linalg.norm(apart, axis=2), 0.01)
        moves: Any = (apart * (distance**2 / lengths**2)[:, :, None]).sum(axis=1) - 0.1 * at
        pulls = (at[ends] - at[starts]) * (np.linalg.norm(at[ends] - at[starts], axis=1) / distance)[:, None]
        np.add.at(moves, starts, pulls)
        np.add.at(moves, ends, -pulls)
        most = 0.2 * (1 - step / _STEPS) + 0.001
        at += moves * np.minimum(1, most / np.maximum(np.linalg.norm(moves, axis=1), 1e-9))[:, None]
    low, high = at.min(axis=0), at.max(axis=0)
    inner = size - 2 * _MARGIN
    placed = np.where(high - low < 1e-6, 0.5, (at - low) / np.maximum(high - low, 1e-6)) * inner + _MARGIN
    return [(float(x), float(y)) for x, y in placed]


def _dot(dot: Dot, place: tuple[float, float], colour: str) -> str:
    x, y = place
    title = f"<title>{html.escape(dot.note or dot.name)}</title>"
    label = _label(x, y + 24, 12, "#222", dot.name)
    return f'<g>{title}<circle cx="{x:.1f}" cy="{y:.1f}" r="11" fill="{colour}"/>{label}</g>'


def _arrow(arrow: Arrow, start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (u, v) = start, end
    length = ((u - x) ** 2 + (v - y) ** 2) ** 0.5
    dashes = ' stroke-dasharray="5 4" opacity="0.6"' if arrow.ended else ""
    style = f'fill="none" stroke="#999" marker-end="url(#agentmem-arrow)"{dashes}'
    if length < 1:
        mx, my = x, y - 42
        path = f"M{x - 8:.1f},{y - 8:.1f}C{x - 45:.1f},{y - 50:.1f} {x + 45:.1f},{y - 50:.1f} {x + 8:.1f},{y - 8:.1f}"
    else:
        # A little bent, so that arrows there and back are two; and up to the dot's edge.
        dx, dy = (u - x) / length, (v - y) / length
        mx, my = (x + u) / 2 - 10 * dy, (y + v) / 2 + 10 * dx
        path = f"M{x + 12 * dx:.1f},{y + 12 * dy:.1f}Q{mx:.1f},{my:.1f} {u - 13 * dx:.1f},{v - 13 * dy:.1f}"
    title = f"<title>{html.escape(arrow.note or arrow.label)}</title>"
    label = _label(mx, my, 10, "#777", arrow.label)
    return f'<g>{title}<path d="{path}" {style}/>{label}</g>'


def _label(x: float, y: float, size: int, colour: str, text: str) -> str:
    """A text that can be read where lines run behind it."""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="middle"'
    return f'<text {place} fill="{colour}" paint-order="stroke" stroke="#fff" stroke-width="3">{_short(text)}</text>'


def _short(text: str) -> str:
    return html.escape(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")
