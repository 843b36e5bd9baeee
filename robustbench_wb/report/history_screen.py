"""First screen of the history: a line per model and a column per version."""

from collections.abc import Iterator, Sequence
from typing import Final

from robustbench_wb.analysis.history.history_result import History, HistoryPoint, ModelHistory
from robustbench_wb.records.names import variant_name
from robustbench_wb.report.comparison import difference_text, p_text
from robustbench_wb.report.headline_text import value_text
from robustbench_wb.report.history import history_blocks
from robustbench_wb.report.text_block import LINE, Column, TextBlock, counted, fit_width, wrapped

_MARKS: Final = {
    "worse": "-",
    "better": "+",
    "equivalent": "=",
    "undecided": "?",
    "incomplete": "?",
    "not comparable": "x",
}
"""Sign behind a number, by its verdict against the point before."""
_TOLD: Final = ("worse", "better")
_CHANGES: Final = 5
"""Changes that are spelt out."""


def history_screen(history: History, width: int = LINE) -> list[TextBlock]:
    """A table of models and versions for each suite and headline column, and a legend; one model is shown in full.

    Args:
        history: the history to show.
        width: terminal columns to fit by leaving out the oldest versions.
    """
    if len(history.models) < 2:
        return history_blocks(history, width)
    panels: dict[tuple[str, ...], list[ModelHistory]] = {}
    for model in history.models:
        panels.setdefault((model.main.column, model.task, model.scale, model.suite), []).append(model)
    legend = [
        f"Against the point before, paired test at {history.alpha:g}: - worse, + better, "
        f"= equivalent within {100 * history.margin:g}, ? undecided, x not comparable.",
        "Blank: not evaluated anew. Intervals, commits and other columns: history MODEL, or --full.",
    ]
    blocks = [_panel(title, members, width) for title, members in panels.items()]
    return [*blocks, TextBlock(notes=wrapped(legend))]


def _panel(title: tuple[str, ...], members: Sequence[ModelHistory], width: int) -> TextBlock:
    column, task, scale, suite = title
    versions = {point.version.number: point.version for model in members for point in model.main.points}
    shown = sorted(versions)
    dates = ("date", *(versions[number].time[5:10] for number in shown))
    names = _names(members)
    rows = tuple(
        (name, *(_number(model, number) for number in shown)) for name, model in zip(names, members, strict=True)
    )
    headings = [f"v{number}" for number in shown]
    block = TextBlock(
        f"{column} on {task}, {scale} scale, suite {suite}",
        columns=(Column("model"), *(Column(heading, "right") for heading in headings)),
        rows=(dates, *rows),
    )
    block = fit_width(block, width, headings[:-1])
    left_out = len(headings) + 1 - len(block.columns)
    notes = [*_changes(names, members)]
    if left_out:
        notes.append(f"{counted(left_out, 'older version')}: --full")
    return TextBlock(block.title, columns=block.columns, rows=block.rows, notes=wrapped(notes))


def _names(members: Sequence[ModelHistory]) -> list[str]:
    """Names of models, with recipe and seed where they differ."""
    recipes = len({model.recipe for model in members}) > 1
    seeds = len({model.seed for model in members}) > 1
    return [
        " ".join([variant_name(model), *[model.recipe] * recipes, *[f"seed {model.seed}"] * seeds]) for model in members
    ]


def _point(model: ModelHistory, version: int) -> HistoryPoint | None:
    return next((point for point in model.main.points if point.version.number == version), None)


def _number(model: ModelHistory, version: int) -> str:
    point = _point(model, version)
    if point is None:
        return ""
    mark = "" if point.change is None else _MARKS[point.change.verdict]
    return f"{value_text(point.number.value, model.metric)} {mark or ' '}"


def _changes(names: Sequence[str], members: Sequence[ModelHistory]) -> Iterator[str]:
    """Significant changes, latest first."""
    found = [
        (point.version.number, name, point)
        for name, model in zip(names, members, strict=True)
        for point in model.main.points
        if point.change_p is not None or (point.change is not None and point.change.verdict in _TOLD)
    ]
    found.sort(key=lambda one: (-one[0], one[1]))
    for number, name, point in found[:_CHANGES]:
        change = "" if point.change is None else f"{point.change.verdict}, {difference_text(point.change)}"
        began = "" if point.change_p is None else f"change point (p {p_text(point.change_p)})"
        yield f"v{number} {name}: " + "; ".join(filter(None, (change, began)))
    if len(found) > _CHANGES:
        yield f"{counted(len(found) - _CHANGES, 'earlier change')}: --full"
