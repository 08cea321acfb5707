"""Charts as SVG: latency by rate as lines, throughput as bars, both on logarithmic axes. Pure."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 860
_LEFT, _RIGHT, _TOP = 70, 200, 40
_PLOT_HEIGHT = 260
_BAR = 26
_COLOURS = ("#1f5fa8", "#d1711c", "#2f8f4e", "#a3332f", "#6b4a9b", "#555555")

Point = tuple[float, float]


def decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten that enclose these positive values; two that differ."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def lines(title: str, x_name: str, y_name: str, series: Mapping[str, Sequence[Point]], top: int = 0) -> str:
    """Return a group of lines with marks, one a series, whose points are (x, y), both positive."""
    points = [point for each in series.values() for point in each]
    x_low, x_high = decades([x for x, _ in points])
    y_low, y_high = decades([y for _, y in points])
    plot_width = WIDTH - _LEFT - _RIGHT
    base = top + _TOP + _PLOT_HEIGHT

    def x_at(x: float) -> float:
        return _LEFT + plot_width * (math.log10(x) - x_low) / (x_high - x_low)

    def y_at(y: float) -> float:
        return base - _PLOT_HEIGHT * (math.log10(y) - y_low) / (y_high - y_low)

    parts = [_text(_LEFT, top + 22, title, bold=True)]
    for power in range(y_low, y_high + 1):
        y = y_at(10**power)
        parts.append(_line(_LEFT, y, _LEFT + plot_width, y, "#dddddd"))
        parts.append(_text(_LEFT - 8, y + 4, f"{10**power:g}", anchor="end"))
    for power in range(x_low, x_high + 1):
        x = x_at(10**power)
        parts.append(_line(x, top + _TOP, x, base, "#dddddd"))
        parts.append(_text(x, base + 18, f"{10**power:g}", anchor="middle"))
    parts.append(_text(_LEFT + plot_width / 2, base + 36, x_name, anchor="middle"))
    parts.append(_text(_LEFT + plot_width + 10, top + 22, y_name))
    for n, (name, data) in enumerate(series.items()):
        colour = _COLOURS[n % len(_COLOURS)]
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in data)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in data]
        parts.append(_text(_LEFT + plot_width + 10, top + _TOP + 14 + 18 * n, name, colour=colour))
    return "\n".join(parts)


def lines_height() -> int:
    return _TOP + _PLOT_HEIGHT + 60


def bars(title: str, rows: Sequence[tuple[str, float]], top: int = 0) -> str:
    """Return bars with their values, on a logarithmic axis that begins a decade below the least."""
    low, high = decades([value for _, value in rows])
    low -= 1
    left, plot_width = 380, WIDTH - 380 - 90
    parts = [_text(_LEFT, top + 22, title, bold=True)]
    for n, (name, value) in enumerate(rows):
        y = top + _TOP + _BAR * n
        width = plot_width * (math.log10(value) - low) / (high - low)
        colour = _COLOURS[0] if name.startswith("Holdfast") else "#9aa4ad"
        parts.append(_text(left - 8, y + 15, name, anchor="end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{_BAR - 6}" fill="{colour}"/>')
        parts.append(_text(left + width + 6, y + 15, f"{value:,.0f}"))
    return "\n".join(parts)


def bars_height(rows: int) -> int:
    return _TOP + _BAR * rows + 20


def document(height: int, *parts: str) -> str:
    """Return one SVG document of these parts."""
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False, colour: str = "#222222"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
