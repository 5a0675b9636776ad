"""Bars as SVG, written by hand: one small group a row, each on a scale of its own."""

from html import escape

COLOURS = {
    "rengafs": "#2563a8",
    "rengafs --write-back": "#7aa6d8",
    "rclone": "#c26a1b",
    "s3fs": "#8a8a3a",
}
LIMIT = "#b8b8b8"
WIDTH, LABELS, BAR, GAP, HEAD = 900, 340, 11, 14, 40


def plot(title: str, rows: list[tuple[str, str, dict[str, float]]]) -> str:
    """Return a picture of *rows*: (work, unit, figure by contender)."""
    parts, y = [], HEAD
    for work, unit, figures in rows:
        top = max(figures.values()) or 1.0
        parts.append(_text(LABELS - 8, y + BAR, f"{work} ({unit})", "end"))
        for who, value in figures.items():
            length = max(1.0, (WIDTH - LABELS - 190) * value / top)
            colour = COLOURS.get(who, LIMIT)
            bar = f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR - 2}"'
            parts.append(f'{bar} fill="{colour}"/>')
            parts.append(_text(LABELS + length + 5, y + BAR - 3, f"{value:.3g}  {who}", "start"))
            y += BAR
        y += GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}"'
    style = ' font-family="sans-serif" font-size="9">'
    ground = f'<rect width="{WIDTH}" height="{y}" fill="white"/>'
    name = f'<text x="10" y="22" font-size="15">{escape(title)}: each row on its own scale</text>'
    return "\n".join([head + style, ground, name, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
