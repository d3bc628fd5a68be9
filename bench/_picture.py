"""The picture of the engine's figures, as SVG: bars, and a line for what was asked."""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any, Final, NamedTuple

WIDTH: Final = 940
_LEFT: Final = 290
_ROW: Final = 24
_MOST: Final = 2.5
"""Bars end here: what was asked for three times over."""
_PROGRAMS: Final = (
    ("client_us", "client", "#2a6f97"),
    ("postgres_us", "PostgreSQL", "#8a5a44"),
    ("redis_us", "Redis", "#b23a48"),
)
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#222}.quiet{fill:#666}"
    ".title{font-weight:600;font-size:15px}.end{text-anchor:end}"
)


class Point(NamedTuple):
    """What is compared: reached and asked for, by the clock; and reached by processor time."""

    name: str
    reached: float
    asked: float
    by_processor: float | None = None


def picture(points: list[Point], figures: dict[str, Any]) -> str:
    """Three panels: reached of asked, the time of a claim, leases a second.

    Args:
        points: see `Point`.
        figures: what the benches found.
    """
    body: list[str] = []
    y = _panel(body, 30, "What was reached, in parts of what was asked", _reached(points))
    foot = f"line: what was asked; bars end at {_MOST:g} times that; measured on {figures['date']}"
    body.append(f'<text class="quiet" x="{_LEFT}" y="{y}">{foot}</text>')
    body.append(_asked_line(30, len(points)))
    y = _panel(
        body,
        y + 40,
        "Processor time of a claim (each path to its own scale)",
        _times(figures["processes"]),
    )
    x = float(_LEFT)
    for _, name, colour in _PROGRAMS:
        body.append(f'<rect x="{x:.0f}" y="{y - 10}" width="11" height="11" fill="{colour}"/>')
        body.append(f'<text class="quiet" x="{x + 16:.0f}" y="{y}">{name}</text>')
        x += 110
    y = _panel(body, y + 40, "Leases taken and given back a second", _leases(figures["lease"]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" '
        f'height="{y}" role="img"><title>What the engine reaches, and where the time goes</title>'
        f'<style>{_STYLE}</style><rect width="{WIDTH}" height="{y}" fill="#fff"/>'
        + "\n".join(body)
        + "</svg>\n"
    )


def _panel(body: list[str], y: int, title: str, rows: Iterable[tuple[str, str, str]]) -> int:
    """A title and rows of (name, bars, label); returns where the next thing may begin."""
    body.append(f'<text class="title" x="16" y="{y}">{escape(title)}</text>')
    for name, bars, label in rows:
        y += _ROW
        body.append(f'<text class="end" x="{_LEFT - 10}" y="{y}">{escape(name)}</text>')
        body.append(f'<g transform="translate({_LEFT} {y - 12})">{bars}{label}</g>')
    return y + _ROW


def _bar(x: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" width="{width:.1f}" height="15" fill="{colour}"/>'


def _label(x: float, text: str) -> str:
    return f'<text x="{x + 8:.1f}" y="12">{escape(text)}</text>'


_SCALE: Final = 120.0
"""Points of width for once what was asked."""


def _reached(points: list[Point]) -> Iterator[tuple[str, str, str]]:
    for name, reached, asked, by_processor in points:
        width = _SCALE * min(_MOST, reached / asked)
        colour = "#3a7d44" if reached >= asked else "#c46210"
        told = f"{reached:,.2f}, asked {asked:g}"
        if by_processor is not None:
            told += f" ({by_processor:,.2f} by processor time)"
        yield name, _bar(0, width, colour), _label(max(width, _SCALE), told)


def _asked_line(y: int, rows: int) -> str:
    x = _LEFT + _SCALE
    return (
        f'<line x1="{x}" x2="{x}" y1="{y + 8}" y2="{y + 8 + rows * _ROW}" stroke="#222" '
        f'stroke-dasharray="4 3"/>'
    )


def _times(processes: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for path in ("one policy", "chunks"):
        both = processes[path]["processes"]
        scale = 360 / max(sum(one[key] for key, _, _ in _PROGRAMS) for one in both)
        for number, one in enumerate(both, 1):
            bars, x = "", 0.0
            for key, _, colour in _PROGRAMS:
                bars += _bar(x, scale * one[key], colour)
                x += scale * one[key]
            total = sum(one[key] for key, _, _ in _PROGRAMS)
            name = f"{path}, {number} process{'es' if number > 1 else ''}"
            yield name, bars, _label(x, f"{total:,.0f} µs, {one['claims_a_second']:,.0f} claims/s")


def _leases(lease: list[dict[str, float]]) -> Iterator[tuple[str, str, str]]:
    names = ("redis-py", "claimwright", "bare protocol")
    most = max(one[name] for one in lease for name in names)
    for one in lease:
        for name in names:
            width = 360 * one[name] / most
            yield (
                f"{name}, {one['at_once']:.0f} at once",
                _bar(0, width, "#2a6f97" if name == "claimwright" else "#9db4c0"),
                _label(width, f"{one[name]:,.0f}"),
            )
