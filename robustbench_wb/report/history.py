"""History of headline numbers as text: a table per model, a line per version that evaluated it anew."""

from typing import Final

from robustbench_wb.analysis.headline.headline import HeadlineNumber
from robustbench_wb.analysis.history.history_result import HeadlineSeries, History, HistoryPoint, ModelHistory
from robustbench_wb.records.names import Metric, variant_name
from robustbench_wb.report.comparison import difference_text, p_text
from robustbench_wb.report.headline_text import number_text, value_text
from robustbench_wb.report.text_block import Column, TextBlock, counted, fit_width

_COMMIT: Final = 7
"""Displayed characters of a commit."""
_STYLES: Final = {"worse": "bold red", "better": "green", "undecided": "yellow", "not comparable": "red"}


def history_blocks(history: History, width: int | None = None) -> list[TextBlock]:
    """A table per model, and a legend.

    Args:
        history: the history to show.
        width: terminal columns to fit by dropping less important columns; None keeps all.
    """
    return [*(_model(model, width) for model in history.models), _legend(history)]


def history_title(model: ModelHistory) -> str:
    """Name of a model with recipe, seed, task, scale and suite."""
    details = " ".join(part for part in (model.recipe, f"seed {model.seed}") if part)
    return f"{variant_name(model)} ({details}), {model.task}, {model.scale} scale, suite {model.suite}"


def _model(model: ModelHistory, width: int | None) -> TextBlock:
    main, others = model.main, [one for one in model.series if one is not model.main]
    columns = (
        Column("version"),
        Column("date"),
        Column("commit"),
        *(Column(one.column, "right") for one in others),
        Column(main.column, "right"),
        Column("change", "right"),
        Column("verdict"),
    )
    rows = tuple(_line(point, others, model.metric) for point in main.points)
    block = TextBlock(history_title(model), columns=columns, rows=rows, notes=tuple(_notes(main)), styles=_STYLES)
    return fit_width(block, width, [*(one.column for one in reversed(others)), "commit"])


def _line(point: HistoryPoint, others: list[HeadlineSeries], metric: Metric) -> tuple[str, ...]:
    version, change = point.version, point.change
    numbers = [_at(series, version.number) for series in others]
    return (
        f"v{version.number}",
        version.time[:10],
        version.commit[:_COMMIT] + ("*" if version.dirty else ""),
        *("" if number is None else value_text(number.value, metric) for number in numbers),
        number_text(point.number, metric),
        "" if change is None else difference_text(change),
        "" if change is None else change.verdict,
    )


def _at(series: HeadlineSeries, version: int) -> HeadlineNumber | None:
    """Number of a series at a version: that of its latest point until then."""
    found = [point.number for point in series.points if point.version.number <= version]
    return found[-1] if found else None


def _notes(series: HeadlineSeries) -> list[str]:
    notes = [
        f"v{point.version.number}: {point.change.verdict}: {point.change.reason}"
        for point in series.points
        if point.change is not None and point.change.reason
    ]
    changes = [f"v{one.version.number} (p {p_text(one.change_p)})" for one in series.points if one.change_p is not None]
    return [*notes, *([f"change points of {series.column}: {', '.join(changes)}"] if changes else [])]


def _legend(history: History) -> TextBlock:
    count, alpha, margin = len(history.versions), f"{history.alpha:g}", f"{100 * history.margin:g}"
    dirty = any(version.dirty for version in history.versions)
    versions = f"{counted(count, 'version')} in {history.location}; one line per new evaluation"
    return TextBlock(
        notes=(
            versions + ("; * uncommitted changes" if dirty else ""),
            "change: from the line before in points, same samples [95 % interval]",
            f"worse, better: paired test at {alpha} per line; equivalent: within {margin} (90 %)",
            f"change points: permutation test of the largest CUSUM, {alpha} per series",
        )
    )
