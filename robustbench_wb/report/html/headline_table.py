"""First screen of a panel: who leads, by how much, how sure; and the headline numbers of all models."""

from dataclasses import dataclass
from typing import Final

from robustbench_wb.analysis.headline.headline import HeadlineNumber, HeadlinePanel, HeadlineRow
from robustbench_wb.report.headline import SEPARATOR, panel_facts
from robustbench_wb.report.headline_text import number_interval, value_text
from robustbench_wb.report.panel import PanelRows
from robustbench_wb.report.text_block import printable

MARKS: Final = ("●", "■", "▲", "◆", "▼", "✚", "✖", "★", "⬢")
"""Markers of the figures as letters, in the same order."""
COLOURS: Final = 8
SHADES: Final = 10
"""Number of the strongest shade of a cell; 0 is unshaded."""


@dataclass(frozen=True, kw_only=True)
class HeadlineCell:
    """Number of a model in one column; all texts are empty if it has none."""

    text: str = ""
    interval: str = ""
    grade: str = ""
    note: str = ""
    """What limits the number."""
    sort: str = ""
    """Number that the column is sorted by."""
    shade: int | None = None
    """Shade from 0 to ``SHADES`` of an accuracy; None without one."""
    bar: tuple[str, str, str] | None = None
    """Accuracy and the ends of its interval in percent, for a bar; None without an interval."""


@dataclass(frozen=True, kw_only=True)
class HeadlineLine:
    """Model with its rank and its numbers."""

    rank: str
    """Rank, and its simultaneous 95 % interval if it has one: ``2 [1, 3]``."""
    mark: str
    style: str
    """Class of the style sheet for the colour of the model."""
    label: str
    group: str
    cells: tuple[HeadlineCell, ...]
    """One per heading."""


@dataclass(frozen=True, kw_only=True)
class HeadlineTable:
    """Verdict and headline numbers of the models of the same cells."""

    leader: str
    """Name of the leading model; empty without a value."""
    number: HeadlineCell
    """Number of the leading model."""
    unit: str
    what: str
    """Meaning of the number, samples, seeds and recipe, like ``robust at Linf 16/255 · n = 360 · seed 0``."""
    margin: str
    """Distance to the runner-up and its significance, a sentence; empty for a single model."""
    headings: tuple[str, ...]
    """The main column, clean, then all others."""
    lines: tuple[HeadlineLine, ...]
    notes: tuple[str, ...]


def mark_of(number: int) -> tuple[str, str]:
    """Marker of the model with this number, and the class of its colour."""
    return MARKS[(number - 1) % len(MARKS)], f"c{(number - 1) % COLOURS}"


def headline_tables(panel: PanelRows) -> list[HeadlineTable]:
    """Headline of a panel, one per set of models that were measured on the same cells."""
    return [_table(panel, own) for own in panel.headlines if own.rows]


def _table(panel: PanelRows, own: HeadlinePanel) -> HeadlineTable:
    order = sorted(range(len(own.columns)), key=lambda at: (at != own.main, own.columns[at].rule != "clean", at))
    first, main = own.rows[0], own.main_column
    accuracy = own.metric == "accuracy"
    measure = "accuracy" if accuracy else "perplexity"
    what = f"robust at {main.name}" if main.rule == "joint" else f"{measure}, {main.name}"
    lead = own.main_number(first)
    return HeadlineTable(
        leader="" if lead.value is None else printable(panel.short_labels[first.subject]),
        number=_cell(own, lead),
        unit="%" if accuracy else "",
        what=SEPARATOR.join([what, *panel_facts(own)]),
        margin=_margin(panel, own),
        headings=tuple(own.columns[at].name for at in order),
        lines=tuple(_line(panel, own, row, order=order) for row in own.rows),
        notes=tuple(_notes(own)),
    )


def _line(panel: PanelRows, own: HeadlinePanel, row: HeadlineRow, *, order: list[int]) -> HeadlineLine:
    mark, style = mark_of(panel.numbers[row.subject])
    interval = "" if row.rank_low in (None, row.rank_high) else f" [{row.rank_low}, {row.rank_high}]"
    return HeadlineLine(
        rank=f"{row.rank}{interval}",
        mark=mark,
        style=style,
        label=panel.short_labels[row.subject],
        group=row.group,
        cells=tuple(_cell(own, row.numbers[at]) for at in order),
    )


def _cell(own: HeadlinePanel, number: HeadlineNumber) -> HeadlineCell:
    if number.value is None:
        return HeadlineCell(text="none", note=number.note)
    accuracy = own.metric == "accuracy"
    bar = (number.value, number.value if number.low is None else number.low, number.high or number.value)
    return HeadlineCell(
        text=value_text(number.value, own.metric),
        interval=number_interval(number, own.metric),
        grade=number.grade,
        note=number.note,
        sort=repr(number.value),
        shade=round(SHADES * number.value) if accuracy else None,
        bar=(f"{100 * bar[0]:.1f}", f"{100 * bar[1]:.1f}", f"{100 * bar[2]:.1f}") if accuracy else None,
    )


def _margin(panel: PanelRows, own: HeadlinePanel) -> str:
    """Sentence on the distance to the second model, and on which models the leader differs from significantly."""
    if len(own.rows) < 2:
        return ""
    first, second = own.rows[:2]
    lead, next_one = (own.main_number(row).value for row in (first, second))
    name = panel.short_labels[second.subject]
    if lead is None or next_one is None:
        return ""
    ends = "" if own.lead is None else f" [{100 * own.lead.low:.1f}, {100 * own.lead.high:.1f}]"
    if own.metric == "accuracy":
        by = f"{100 * (lead - next_one):.1f} points{ends} ahead of {name}"
    else:
        by = f"{100 * (1 - lead / next_one):.1f} %{ends} below {name}"
    if not first.group:
        return f"{by}; without the records of the samples, significance is unknown."
    tied = [row for row in own.rows[1:] if set(row.group) & set(first.group)]
    if not tied:
        return f"{by}; significantly better than every other model."
    who = name if len(tied) == 1 and tied[0] is second else f"{len(tied)} of {len(own.rows) - 1} other models"
    corrected = own.lead is not None and own.lead.low > 0 and tied[0] is second and own.tests > 1
    why = f" after Holm's correction for {own.tests} tests" if corrected else ""
    return f"{by}; the difference from {who} is not significant{why}."


def _notes(own: HeadlinePanel) -> list[str]:
    main = own.main_column
    notes = []
    if main.rule == "joint":
        notes.append("Robust: correct when clean and under every attack of the suite at that radius.")
    notes.append(f"Ranked by {main.name}. Brackets are 95 % intervals" + (
        f"; models that share a letter do not differ significantly (Holm, {own.tests} paired tests)."
        if any(row.group for row in own.rows) else "."))  # fmt: skip
    if own.doubtful or own.failed:
        doubts = [f"{own.doubtful} of {own.evaluations} evaluations are graded F"] if own.doubtful else []
        doubts += [f"{own.failed} of {own.evaluations} failed or are incomplete"] if own.failed else []
        notes.append(f"{'; '.join(doubts)}: see Doubts.".capitalize())
    return notes
