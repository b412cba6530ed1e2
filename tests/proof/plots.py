"""Small charts as SVG, written by hand: a report that anybody can make again needs no library of plots."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, BAR, LEFT, RIGHT = 760, 26, 230, 110
_STYLE = (
    "text{font:13px sans-serif;fill:#444}.bar{fill:#4477aa}.over{fill:#cc4433}.line{fill:none;stroke:#4477aa;"
    "stroke-width:2}.axis{stroke:#bbb}@media (prefers-color-scheme:dark){text{fill:#ccc}.axis{stroke:#555}}"
)


def bars(title: str, values: Mapping[str, float], *, bad_above: float) -> str:
    """Draw one bar for each value; those above a bound stand out."""
    most = max((*values.values(), 1))
    height = 30 + BAR * len(values)
    drawn = [_text(0, 16, title)]
    for place, (name, value) in enumerate(values.items()):
        y = 30 + BAR * place
        length = (WIDTH - LEFT - RIGHT) * max(0.0, value) / most
        kind = "over" if value > bad_above else "bar"
        drawn.append(_text(LEFT - 8, y + 14, name, anchor="end"))
        drawn.append(f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{max(1.0, length):.1f}" height="{BAR - 8}"/>')
        drawn.append(_text(LEFT + length + 6, y + 14, f"{value:,.0f}"))
    return _svg(height, drawn)


def line(title: str, values: Sequence[float], unit: str) -> str:
    """Draw values over time, from zero up."""
    height, top, foot = 190, 34, 160
    most = max((*values, 1))
    step = (WIDTH - LEFT) / max(1, len(values) - 1)
    points = " ".join(
        f"{LEFT / 2 + step * place:.1f},{foot - (foot - top) * value / most:.1f}" for place, value in enumerate(values)
    )
    drawn = [
        _text(0, 16, title),
        f'<line class="axis" x1="{LEFT / 2}" y1="{foot}" x2="{WIDTH - LEFT / 2}" y2="{foot}"/>',
        _text(LEFT / 2 - 8, top + 5, f"{most:,.0f} {unit}", anchor="end"),
        _text(LEFT / 2 - 8, foot + 4, "0", anchor="end"),
        f'<polyline class="line" points="{points}"/>',
    ]
    return _svg(height, drawn)


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: int, drawn: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *drawn, "</svg>", ""])
