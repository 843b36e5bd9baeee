"""A comparison as a table of verdicts: what was lost and gained, and how sure that is."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from robustbench_wb.report.scores import cell_label, subject_labels, subject_of
from robustbench_wb.report.text import Block, Column
from robustbench_wb.stats.compare import Comparison, Pair
from robustbench_wb.store.rows import ScoreRow

_COLUMNS: Final = (
    Column("cell"),
    Column("verdict"),
    Column("old -> new", "right"),
    Column("difference", "right"),
    Column("lost", "right"),
    Column("gained", "right"),
    Column("p (Holm)", "right"),
    Column("detects", "right"),
)
_DISPENSABLE: Final = ("detects", "old -> new", "p (Holm)")
"""Columns left out of a table that is too wide, the first first."""

_STYLES: Final = {
    "worse": "bold red",
    "better": "green",
    "equivalent": "",
    "undecided": "yellow",
    "incomplete": "red",
    "not comparable": "red",
}
_DIGEST_LENGTH: Final = 64


def comparison_blocks(comparison: Comparison, width: int | None = None) -> list[Block]:
    """The comparison as table data: one block per task, scale and variant, then a summary.

    Accuracies are in percent, differences in percentage points. ``width`` is the columns to stay within, by leaving out
    the less important ones; None keeps all.
    """
    labels = subject_labels(pair.new for pair in comparison.pairs)
    panels: dict[str, list[Pair]] = {}
    for pair in comparison.pairs:
        title = f"{pair.new.task}, {pair.new.scale} scale, suite {pair.new.suite}: {labels[subject_of(pair.new)]}"
        panels.setdefault(title, []).append(pair)
    blocks = [_panel(title, pairs, width) for title, pairs in panels.items()]
    return [*blocks, _summary(comparison)]


def _panel(title: str, pairs: Sequence[Pair], width: int | None) -> Block:
    reasons: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.verdict in ("not comparable", "incomplete"):
            reasons.setdefault(f"{pair.verdict} ({_reason(pair)})", []).append(cell_label(pair.new))
    notes = tuple(f"{reason}: {', '.join(cells)}" for reason, cells in reasons.items())
    rows = tuple(_line(pair) for pair in pairs)
    left_out: list[str] = []
    while True:
        kept = [index for index, column in enumerate(_COLUMNS) if column.heading not in left_out]
        shown = tuple(tuple(row[index] for index in kept) for row in rows)
        block = Block(title, tuple(_COLUMNS[index] for index in kept), shown, notes, _STYLES)
        if width is None or block.width <= width or len(left_out) == len(_DISPENSABLE):
            return block
        left_out.append(_DISPENSABLE[len(left_out)])


def _reason(pair: Pair) -> str:
    if not pair.differing:
        return pair.reason
    return "; ".join(f"{item.field}: {_short(item.old)} and {_short(item.new)}" for item in pair.differing)


def _short(value: str | int) -> str:
    """The first digits of a digest; anything else in full."""
    text = str(value)
    return f"{text[:12]}..." if len(text) == _DIGEST_LENGTH else text or "none"


def _line(pair: Pair) -> tuple[str, ...]:
    return (
        cell_label(pair.new),
        pair.verdict,
        f"{_share(pair.old)} -> {_share(pair.new)}",
        _difference(pair),
        _count(pair.lost),
        _count(pair.gained),
        _p(pair.adjusted_p),
        "" if pair.detectable_drop is None else f"{100 * pair.detectable_drop:.1f}",
    )


def _share(row: ScoreRow) -> str:
    mark = {"ok": "", "incomplete": "*"}
    return f"{100 * row.accuracy:.1f}{mark[row.status]}" if row.status in mark else "error"


def _difference(pair: Pair) -> str:
    if pair.differing:
        return "differs: " + ", ".join(item.field for item in pair.differing)
    if pair.difference is None or pair.low is None or pair.high is None:
        return ""
    if pair.low == pair.high:
        return _points(pair.difference)
    return f"{_points(pair.difference)} [{_points(pair.low)}, {_points(pair.high)}]"


def _points(share: float) -> str:
    """Signed percentage points; zero has no sign, and neither has what rounds to it."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _p(p: float | None) -> str:
    if p is None:
        return ""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _summary(comparison: Comparison) -> Block:
    counts = Counter[str](pair.verdict for pair in comparison.pairs)
    verdicts = ", ".join(f"{counts[name]} {name}" for name in _STYLES if counts[name])
    notes = [
        verdicts or "no cell stands in both tables: nothing to compare",
        "difference: new - old in points [95 % paired interval]",
        f"equivalent: interval within {100 * comparison.margin:g} points",
        f"worse, better: exact McNemar p, adjusted by Holm, at most {comparison.alpha:g}",
        "detects: the smallest drop in points seen with 80 % power, given n and how many samples changed",
    ]
    alone = (("only in the new table", comparison.added), ("only in the old table", comparison.removed))
    for what, rows in alone:
        labels = subject_labels(rows)
        cells = [f"{row.task} {labels[subject_of(row)]} {cell_label(row)}" for row in rows]
        notes += [f"{what}: {cell}" for cell in cells]
    return Block("", (), (), tuple(notes))
