"""A comparison as a table of verdicts: what was lost and gained, and how sure that is."""

from collections import Counter
from collections.abc import Sequence
from math import expm1
from typing import Final

from robustbench_wb.engine.record import Metric
from robustbench_wb.report.labels import cell_label, subject_labels
from robustbench_wb.report.scores import short_text
from robustbench_wb.report.text import Block, Column
from robustbench_wb.stats.compare import Comparison, Pair

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

_NOT_FOR_PERPLEXITY: Final = ("lost", "gained")

_STYLES: Final = {
    "worse": "bold red",
    "better": "green",
    "equivalent": "",
    "undecided": "yellow",
    "incomplete": "red",
    "not comparable": "red",
}
_DIGEST_LENGTH: Final = 64
_LARGEST: Final = 700.0
"""A larger logarithm of a ratio is shown as this one: exp of 710 overflows."""


def comparison_blocks(comparison: Comparison, width: int | None = None) -> list[Block]:
    """The comparison as table data: one block per task, scale and variant, then a summary.

    Accuracies are in percent, their differences in percentage points, those of perplexities in percent of the old
    one. ``width`` is the columns to stay within, by leaving out
    the less important ones; None keeps all.
    """
    labels = subject_labels(pair.new for pair in comparison.pairs)
    panels: dict[str, list[Pair]] = {}
    for pair in comparison.pairs:
        what = f"suite {pair.new.suite}" + (", perplexity" if pair.metric == "perplexity" else "")
        what += f", protocol {pair.new.protocol}" if pair.new.protocol != "sound" else ""
        title = f"{pair.new.task}, {pair.new.scale} scale, {what}: {labels[pair.new.subject]}"
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
    foreign = _NOT_FOR_PERPLEXITY if pairs[0].metric == "perplexity" else ()
    while True:
        kept = [index for index, column in enumerate(_COLUMNS) if column.heading not in (*left_out, *foreign)]
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
        f"{short_text(pair.old)} -> {short_text(pair.new)}",
        _difference(pair),
        _count(pair.lost),
        _count(pair.gained),
        _p(pair.adjusted_p),
        "" if pair.detectable_drop is None else _change(pair.detectable_drop, pair.metric).removeprefix("+"),
    )


def _difference(pair: Pair) -> str:
    if pair.differing:
        return "differs: " + ", ".join(item.field for item in pair.differing)
    if pair.difference is None:
        return ""
    difference = _change(pair.difference, pair.metric)
    if pair.low is None or pair.high is None:
        return f"{difference} [no interval]"
    if pair.low == pair.high:
        return difference
    return f"{difference} [{_change(pair.low, pair.metric)}, {_change(pair.high, pair.metric)}]"


def _change(value: float, metric: Metric) -> str:
    """Signed percentage points, or from the logarithm of a ratio a signed percentage; what rounds to 0 has no sign."""
    percent = 100 * (value if metric == "accuracy" else expm1(min(value, _LARGEST)))
    text = f"{percent:+.1f}" if percent < 1e5 else f"{percent:+.1e}"
    text = "0.0" if text in ("+0.0", "-0.0") else text
    return text if metric == "accuracy" else f"{text}%"


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _p(p: float | None) -> str:
    if p is None:
        return ""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _summary(comparison: Comparison) -> Block:
    counts = Counter[str](pair.verdict for pair in comparison.pairs)
    verdicts = ", ".join(f"{counts[name]} {name}" for name in _STYLES if counts[name])
    notes = [verdicts or "no cell stands in both tables: nothing to compare"]
    metrics = {pair.metric for pair in comparison.pairs}
    if metrics != {"perplexity"}:
        notes += [
            "difference: new - old in points [95 % paired interval]",
            f"equivalent: interval within {100 * comparison.margin:g} points",
            f"worse, better: exact McNemar p, adjusted by Holm, at most {comparison.alpha:g}",
            "detects: the smallest drop in points seen with 80 % power, given n and how many samples changed",
        ]
    if "perplexity" in metrics:
        notes += [
            "perplexity difference: new against old in percent [95 % paired t interval], lower is better",
            f"perplexity equivalent: interval within a factor of {1 + comparison.margin:g} either way",
            f"perplexity worse, better: paired t-test of the samples' losses, Holm p at most {comparison.alpha:g}",
            "perplexity detects: the smallest rise seen with 80 % power, given n and the scatter of the differences",
        ]
    alone = (("only in the new table", comparison.added), ("only in the old table", comparison.removed))
    for what, rows in alone:
        labels = subject_labels(rows)
        cells = [f"{row.task} {labels[row.subject]} {cell_label(row)}" for row in rows]
        notes += [f"{what}: {cell}" for cell in cells]
    return Block("", (), (), tuple(notes))
