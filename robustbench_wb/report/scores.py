"""Score tables: per panel, models against perturbations, split to fit the terminal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from robustbench_wb.analysis.headline.headline import Headline
from robustbench_wb.analysis.row_order import CellKey, cell_key, split_panels, strength_sort_key
from robustbench_wb.records.names import Metric, cell_name
from robustbench_wb.records.score_row import PanelKey, ScoreRow
from robustbench_wb.report.grade_notes import grade_notes
from robustbench_wb.report.mean_iou import INTERVAL as MEAN_IOU_INTERVAL
from robustbench_wb.report.mean_iou import least_iou_notes, row_mean_iou
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.output_scores import OUTPUT_SCORES, detection_notes
from robustbench_wb.report.shortcut_notes import shortcut_mark, shortcut_notes
from robustbench_wb.report.text_block import Column, TextBlock, counted

_UNIT: Final[dict[Metric, str]] = {
    "accuracy": "robust accuracy in percent",
    "perplexity": "perplexity per token, lower is better",
}
_INTERVAL: Final[dict[Metric, str]] = {
    "accuracy": "[95 % Wilson interval]",
    "perplexity": "[95 % t interval over samples]",
}


def score_blocks(rows: Iterable[ScoreRow], version: int | None = None, width: int | None = None) -> list[TextBlock]:
    """Score tables with one column per cell if that fits the width, else one table per ladder of strengths.

    Args:
        rows: rows to show, in any order.
        version: number of the table version, for the note below the table.
        width: terminal columns to fit; None never splits a table.
    """
    blocks: list[TextBlock] = []
    for members in split_panels(rows):
        blocks += _panel_blocks(members[0].panel, members, version=version, width=width)
    return blocks


def leaderboard_blocks(
    rows: Iterable[ScoreRow], headline: Headline, version: int | None = None, width: int | None = None
) -> list[TextBlock]:
    """Score tables with the best model of each table first, and a note on the order.

    Args:
        rows: rows to show, in any order.
        headline: headline numbers of these rows.
        version: number of the table version, for the note below the table.
        width: terminal columns to fit; None never splits a table.
    """
    places = [(panel.key, row.subject) for panel in headline.panels for row in panel.rows]
    ranks = {place: at for at, place in enumerate(places)}
    order = sorted(rows, key=lambda row: ranks.get((row.panel, row.subject), len(ranks)))
    columns = ", ".join(dict.fromkeys(panel.main_column.name for panel in headline.panels))
    return [*score_blocks(order, version, width), *([TextBlock(notes=(f"order: by {columns}",))] if order else [])]


def score_text(row: ScoreRow) -> str:
    """Value with interval, credibility grade, and ``~`` if the model does not beat the best shortcut.

    Accuracies in percent, like ``87.2 [84.9, 89.2] B``; perplexities like ``23.41 [22.10, 24.80]``. With missing
    samples ``83.1* (12 errored)`` or ``>= 20.05* (2 errored)``; ``error`` if no sample was judged.
    """
    if row.status == "error":
        return _value_text(row)
    return " ".join(part for part in (_value_text(row), row.grade, shortcut_mark(row)) if part)


def _value_text(row: ScoreRow) -> str:
    if row.status != "ok":
        missing = ((row.errored, "errored"), (row.not_run, "not run"))
        counts = ", ".join(f"{count} {what}" for count, what in missing if count)
        return f"{short_text(row)} ({counts})" if counts and row.status == "incomplete" else short_text(row)
    return f"{short_text(row)} {interval_text(row)}"


def interval_text(row: ScoreRow) -> str:
    """Interval like ``[84.9, 89.2]``, for a row of accuracies or a complete row of perplexities."""
    if row.metric == "accuracy":
        return f"[{_percent(row.low)}, {_percent(row.high)}]"
    return f"[{perplexity_text(row.perplexity_low)}, {perplexity_text(row.perplexity_high)}]"


def short_text(row: ScoreRow) -> str:
    """Value alone, like ``87.2``; ``83.1*`` or the bound ``>= 20.05*`` with missing samples; ``error``."""
    if row.status == "error":
        return "error"
    if row.metric == "accuracy":
        value = _percent(row.accuracy)
    elif row.perplexity is not None:
        value = perplexity_text(row.perplexity)
    else:
        value = f">= {perplexity_text(row.perplexity_low)}"
    return value if row.status == "ok" else f"{value}*"


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0.0):.1f}"


def perplexity_text(value: float | None) -> str:
    """Perplexity with two decimals, fewer from ten thousand on; ``inf`` for an open end."""
    if value is None:
        return "inf"
    return f"{value:.2f}" if value < 1e4 else f"{value:.0f}" if value < 1e7 else f"{value:.2e}"


def _panel_blocks(
    panel: PanelKey, rows: Sequence[ScoreRow], *, version: int | None, width: int | None
) -> list[TextBlock]:
    title = panel_title(panel)
    subjects = model_labels(rows)
    trouble = _footnotes(rows, subjects)
    facts = (panel_facts(rows, version), *least_iou_notes(rows), *detection_notes(rows))
    notes = (*facts, *grade_notes(rows, subjects), *shortcut_notes(rows, subjects), *trouble)
    tables = _tables(rows, subjects, _Shown(panel.metric, score_text), width=width)
    others = [(f"mean IoU in percent {MEAN_IOU_INTERVAL}", _Shown("mIoU", row_mean_iou))]
    others += [(f"{score.title} {score.interval}", _Shown(score.heading, score.row_text)) for score in OUTPUT_SCORES]
    more = [
        replace(table, title="" if index else f"{panel.task}, {panel.scale} scale: {title}")
        for title, shown in others
        if any(shown.text(row) for row in rows)
        for index, table in enumerate(_tables(rows, subjects, shown, width=width))
    ]
    return [
        TextBlock(
            title=title if index == 0 else "",
            columns=table.columns,
            rows=table.rows,
            notes=notes if index == len(tables) - 1 else (),
            styles={"error": "red"},
        )
        for index, table in enumerate(tables)
    ] + more


def panel_title(panel: PanelKey) -> str:
    """Title with task, scale, protocol unless it is the default, and metric."""
    rules = "" if panel.protocol == "sound" else f", protocol {panel.protocol}"
    return f"{panel.task}, {panel.scale} scale{rules}: {_UNIT[panel.metric]}"


def suite_title(row: ScoreRow, version: int | None) -> str:
    """Title with task, scale, suite and, unless it is None, the table version of a row."""
    table = f", table v{version}" if version is not None else ""
    return f"{row.task}, {row.scale} scale, suite {row.suite} v{row.suite_version}{table}"


def cells_in_order(rows: Sequence[ScoreRow]) -> list[CellKey]:
    """Cells by perturbation in the order of the rows, clean first, then by ascending strength."""
    stressors = list(dict.fromkeys(row.stressor for row in rows))
    stressors.sort(key=lambda name: name != "clean")
    cells = {cell_key(row) for row in rows}
    return sorted(cells, key=lambda cell: (stressors.index(cell.stressor), strength_sort_key(cell.strength)))


class _Shown(NamedTuple):
    """What a table shows of a row."""

    heading: str
    """Heading of cells without a strength."""
    text: Callable[[ScoreRow], str]


def _tables(
    rows: Sequence[ScoreRow], subjects: Mapping[tuple[str, ...], str], shown: _Shown, *, width: int | None
) -> list[TextBlock]:
    """One table if it fits the width, else several."""
    wide = _wide(rows, subjects, shown)
    return [wide] if width is None or wide.width <= width else _narrow(rows, subjects, shown, width=width)


def _wide(rows: Sequence[ScoreRow], subjects: Mapping[tuple[str, ...], str], shown: _Shown) -> TextBlock:
    """Table with a row per model and a column per cell."""
    found = {(row.subject, row.stressor, row.strength): row for row in rows}
    cells = cells_in_order(rows)
    headings = [cell_name(cell.stressor, cell.strength) for cell in cells]
    lines = []
    for subject, label in subjects.items():
        texts = [_text(found.get((subject, *cell)), shown) for cell in cells]
        lines.append((label, *texts))
    columns = (Column("model"), *(Column(text, "right") for text in headings))
    return TextBlock(columns=columns, rows=tuple(lines))


def _narrow(
    rows: Sequence[ScoreRow], subjects: Mapping[tuple[str, ...], str], shown: _Shown, *, width: int
) -> list[TextBlock]:
    """Tables with a column per strength; perturbations with equal strengths share a table if it fits."""
    strengths: dict[str, list[str]] = {}
    for stressor, strength in cells_in_order(rows):
        strengths.setdefault(stressor, []).append(strength)
    shared: dict[tuple[str, ...], list[str]] = {}
    for stressor, steps in strengths.items():
        shared.setdefault(tuple(steps), []).append(stressor)
    found = {(row.subject, row.stressor, row.strength): row for row in rows}
    blocks: list[TextBlock] = []
    for ladder, stressors in shared.items():
        lines = [
            (stressor, label, *(_text(found.get((subject, stressor, step)), shown) for step in ladder))
            for stressor in stressors
            for subject, label in subjects.items()
        ]
        lines = [line for line in lines if any(line[2:])]
        steps_across = tuple(Column(step or shown.heading, "right") for step in ladder)
        together = TextBlock(columns=(Column("perturbation"), Column("model"), *steps_across), rows=tuple(lines))
        if together.width <= width:
            blocks.append(together)
            continue
        for stressor in stressors:
            own = tuple(line[1:] for line in lines if line[0] == stressor)
            blocks += _split(TextBlock(columns=(Column(stressor), *steps_across), rows=own), width)
    return blocks


def _split(table: TextBlock, width: int) -> list[TextBlock]:
    """Tables with as many columns as fit the width, at least one; each table repeats the first column."""
    parts: list[TextBlock] = []
    start = 1
    while start < len(table.columns):
        end = start + 1
        while end < len(table.columns) and _part(table, start, end + 1).width <= width:
            end += 1
        parts.append(_part(table, start, end))
        start = end
    return parts


def _part(table: TextBlock, start: int, end: int) -> TextBlock:
    rows = tuple(row[:1] + row[start:end] for row in table.rows)
    return TextBlock(columns=table.columns[:1] + table.columns[start:end], rows=rows)


def _text(row: ScoreRow | None, shown: _Shown) -> str:
    return shown.text(row) if row is not None else ""


def panel_facts(rows: Sequence[ScoreRow], version: int | None) -> str:
    """Note below a panel with the facts that all its numbers share.

    Args:
        rows: rows of one panel.
        version: number of the table version; None leaves it out.
    """
    counts = sorted({row.n for row in rows})
    seeds = sorted({row.seed for row in rows})
    recipes = list(dict.fromkeys(row.recipe for row in rows if row.recipe))
    facts = [
        f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}",
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
        _INTERVAL[rows[0].metric],
        f"recipe{'s' if len(recipes) > 1 else ''} {', '.join(recipes)}",
        f"suite {rows[0].suite} v{rows[0].suite_version}",
    ]
    return "; ".join([*facts, f"table v{version}"] if version is not None else facts)


def _footnotes(rows: Sequence[ScoreRow], labels: Mapping[tuple[str, ...], str]) -> list[str]:
    """Notes on failed, incomplete and stopped cells, one line per distinct reason."""
    failed: dict[tuple[str, str], list[str]] = {}
    notes = []
    for row in rows:
        label = labels[row.subject]
        if row.status == "error":
            failed.setdefault((label, row.error or "no sample was judged"), []).append(row.cell)
        elif row.status == "incomplete":
            missing = (
                f"{row.errored + row.not_run} of {counted(row.n, 'sample')} not judged, {row.metric} {_bounds(row)}"
            )
            notes.append(f"* {label} {row.cell}: {missing}: {row.error}".removesuffix(": "))
    stopped: dict[str, list[str]] = {}
    for row in rows:
        if row.is_stopped:
            part = f"({row.n:,} of {row.planned:,} samples)"
            stopped.setdefault(row.stopped, []).append(f"{labels[row.subject]} {row.cell} {part}")
    notes += [f"stopped, {reason}: {', '.join(cells)}" for reason, cells in stopped.items()]
    return notes + [f"error: {label} {', '.join(cells)}: {error}" for (label, error), cells in failed.items()]


def _bounds(row: ScoreRow) -> str:
    """Bounds of the value of an incomplete row."""
    if row.metric == "accuracy":
        return f"between {_percent(row.accuracy)} and {_percent(row.accuracy_high)}"
    if row.perplexity is not None:
        return perplexity_text(row.perplexity)
    return f"at least {perplexity_text(row.perplexity_low)} (97.5 % bound, missing losses taken as 0)"
