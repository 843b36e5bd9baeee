"""First screen of a table: one line per model with its headline numbers, best model first."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from rich.cells import cell_len, set_cell_size

from robustbench_wb.analysis.headline.headline import Headline, HeadlineNumber, HeadlinePanel, HeadlineRow
from robustbench_wb.analysis.over_seeds.seed_means import SeedPanel
from robustbench_wb.records.names import SHORTCUT
from robustbench_wb.report.forecast import seeds_text
from robustbench_wb.report.headline_text import number_interval, value_text
from robustbench_wb.report.model_labels import model_labels, recipe_text
from robustbench_wb.report.output_scores import constraint_notes, detection_notes, score_tables
from robustbench_wb.report.text_block import LINE, Column, TextBlock, counted, fit_width, wrapped

SEPARATOR: Final = " · "
RANK_NOTE: Final = "rank [interval]: simultaneous 95 % rank intervals (Holm)"
GROUP_NOTE: Final = "models sharing a letter do not differ significantly"
_STYLES: Final = {"error": "red"}
_END: Final = 6
"""Last characters of a shortened name, which often tell names apart."""
_LISTED_SEEDS: Final = 5
"""Largest number of seeds that are listed one by one."""
_DOUBTS: Final = 3
"""Number of models whose doubts the first screen explains."""


def first_screen(headline: Headline, *, ranks: bool = False, width: int | None = LINE) -> list[TextBlock]:
    """Title, table and notes of each panel; panels of shortcut baselines are one note of the others.

    Args:
        headline: headline numbers of a table.
        ranks: whether to show rank intervals and groups.
        width: terminal columns to fit by dropping columns and shortening names; None keeps all.
    """
    panels = [panel for panel in headline.panels if not _is_baseline(panel)] or list(headline.panels)
    baselines = [panel for panel in headline.panels if panel not in panels]
    blocks = []
    for panel in panels:
        table = headline_table(panel, ranks=ranks, every=False, width=width)
        title, options = _fitted_title(panel, width)
        notes = wrapped([*options, *_meaning(panel, table, ranks), *_baseline_notes(panel, baselines)])
        blocks += [
            TextBlock(title, columns=table.columns, rows=table.rows, styles=_STYLES),
            TextBlock(notes=(*notes, *_doubts(panel))),
            *score_tables(panel, every=False, width=width),
        ]
    return blocks


def _fitted_title(panel: HeadlinePanel, width: int | None) -> tuple[str, list[str]]:
    """Title of a panel; where it is too long, without the options of the task, which a note then says."""
    title = headline_title(panel)
    name, found, options = panel.task.partition(";")
    if width is None or cell_len(title) <= width or not found:
        return title, []
    return headline_title(panel.model_copy(update={"task": name})), [f"{name}: {options.replace(';', ', ')}."]


def headline_title(panel: HeadlinePanel) -> str:
    """Title like ``Robust accuracy (%) on digits · n = 360 · seed 0 · adversarial v2 · smoke``."""
    return table_title(panel, seeds_of(panel))


def seeds_of(panel: HeadlinePanel) -> str:
    """Seeds of all models, like ``seed 0`` or ``seeds 0, 1``."""
    seeds = sorted({row.seed for row in panel.rows})
    return f"seed{'s' if len(seeds) > 1 else ''} {seed_list(seeds)}"


def panel_facts(panel: HeadlinePanel) -> list[str]:
    """What every headline number is to be cited with: samples, seeds, and a recipe that is not the standard one."""
    return [f"n = {panel.n}", seeds_of(panel), *filter(None, [recipe_text(panel.rows)])]


def table_title(panel: HeadlinePanel | SeedPanel, seeds: str) -> str:
    """Title of a table of headline numbers; ``seeds`` says which seeds, or that the numbers are means over them."""
    if panel.metric == "perplexity":
        what = "Perplexity (lower is better)"
    else:
        what = "Robust accuracy (%)" if panel.main_column.rule == "joint" else "Accuracy (%)"
    facts = [
        f"{what} on {panel.task}",
        f"n = {panel.n}",
        seeds,
        f"{panel.suite} v{panel.suite_version}",
        panel.scale,
    ]
    return SEPARATOR.join([*facts, *([panel.protocol] if panel.protocol != "sound" else [])])


def seed_list(seeds: Sequence[int]) -> str:
    """Seeds like ``0, 1, 2``; many of them as ranges, like ``0-9``."""
    return ", ".join(map(str, seeds)) if len(seeds) <= _LISTED_SEEDS else seeds_text(seeds)


def headline_table(panel: HeadlinePanel, *, ranks: bool, every: bool, width: int | None) -> TextBlock:
    """Table with a line per model, without title and notes.

    Args:
        panel: panel to show.
        ranks: whether to show rank intervals and groups.
        every: whether to show all headline columns, else those of the first screen.
        width: see ``first_screen``.
    """
    labels = model_labels(panel.rows, sized=False)
    shown = [at for at, column in enumerate(panel.columns) if every or column.first or at == panel.main]
    mce = any(row.mce is not None for row in panel.rows)
    columns = (
        Column("rank" if ranks else ""),
        Column("model"),
        *(Column(panel.columns[at].name, "right") for at in shown),
        *([Column("mCE", "right")] if mce else []),
    )
    lines = []
    for row in panel.rows:
        interval = f" [{row.rank_low}, {row.rank_high}] {row.group}" if ranks and row.rank_low is not None else ""
        numbers = [_number_text(panel, row, at) for at in shown]
        lines.append(
            (
                f"{row.rank}{interval}",
                labels[row.subject],
                *numbers,
                *([f"{row.mce:.1f}" if row.mce is not None else ""] if mce else []),
            )
        )
    block = TextBlock(columns=columns, rows=tuple(lines), styles=_STYLES)
    kept = {panel.main, *(at for at, column in enumerate(panel.columns) if column.rule == "clean")}
    others = sorted((at for at in shown if at not in kept), key=lambda at: (panel.columns[at].first, -at))
    return _shorten(fit_width(block, width, [*(panel.columns[at].name for at in others), "group"]), width)


def _shorten(block: TextBlock, width: int | None) -> TextBlock:
    """Block with model names cut in the middle to fit the width, but to no less than 12 characters."""
    if width is None or block.width <= width:
        return block
    at = [column.heading for column in block.columns].index("model")
    longest = max(12, max(cell_len(row[at]) for row in block.rows) - (block.width - width))

    def cut(name: str) -> str:
        kept = max(0, longest - 3 - cell_len(name[-_END:]))
        return f"{set_cell_size(name, kept)}...{name[-_END:]}" if cell_len(name) > longest else name

    return replace(block, rows=tuple((*row[:at], cut(row[at]), *row[at + 1 :]) for row in block.rows))


def _number_text(panel: HeadlinePanel, row: HeadlineRow, at: int) -> str:
    """Number with interval and grade in the main column, elsewhere only with a grade C or F."""
    number, main = row.numbers[at], at == panel.main
    if number.value is None:
        return "error" if number.failed or main else ""
    text = value_text(number.value, panel.metric) + ("*" if number.failed or number.unjudged else "")
    if panel.columns[at].rule == "joint" and number.low is None:
        text = f"<= {text}"
    if main:
        text = f"{text} {number_interval(number, panel.metric)}".rstrip()
    return f"{text} {number.grade}".rstrip() if main or number.grade in ("C", "F") else text


def _meaning(panel: HeadlinePanel, table: TextBlock, ranks: bool) -> Iterable[str]:
    """What the numbers of a table mean, and how models are ranked."""
    column, cells = panel.main_column, [cell for row in table.rows for cell in row[2:]]
    joint = any(one.rule == "joint" for one in panel.columns if one.first or one is column)
    if joint:
        graded = any(number.grade for row in panel.rows for number in row.numbers)
        yield f"Robust = correct under every attack at that radius.{' A to F: credibility.' if graded else ''}"
        yield from constraint_notes(panel)
    headings = {one.heading for one in table.columns}
    kind = "average accuracy" if panel.metric == "accuracy" else "geometric mean perplexity"
    for one in panel.columns:
        whole = one is column or one.name.endswith("mean")
        if whole and one.rule == "mean" and len(one.cells) > 1 and one.name in headings:
            yield f"{one.name} = {kind} over {counted(len(one.cells), 'evaluation')}."
    if left := [one.name for one in panel.columns if one.first and one.name not in headings]:
        yield from wrapped([f"Too wide for this screen: {', '.join(left)} (--full)."])
    yield from (f"{note[0].upper()}{note[1:]}." for note in detection_notes(_numbers(panel)))
    if recipe := recipe_text(panel.rows):
        yield f"All models have {recipe}."
    controls = " FGSM and random noise are controls: --full." if joint else ""
    yield f"Ranked by {column.name} [95 % CI].{controls}"
    if any(cell.startswith("<=") for cell in cells):
        yield "<=: an upper bound, because records are missing."
    if any("*" in cell for cell in cells):
        robust = " and count as not robust" if panel.metric == "accuracy" else ""
        yield f"*: some samples could not be judged{robust}: --full"
    if ranks and len(panel.rows) > 1 and any(row.group for row in panel.rows):
        yield f"{RANK_NOTE}."
        yield f"a, b, ...: {GROUP_NOTE}."


def _numbers(panel: HeadlinePanel) -> list[HeadlineNumber]:
    return [number for row in panel.rows for number in row.numbers]


def _doubts(panel: HeadlinePanel) -> Iterable[str]:
    """What the reader should know before trusting the table."""
    labels = model_labels(panel.rows, sized=False)
    causes: dict[str, list[str]] = {}
    for row in panel.rows:
        number = panel.main_number(row)
        if number.note:
            grade = f"{number.grade}: " if number.grade in ("C", "F") else ""
            causes.setdefault(f"{grade}{{}}: {number.note}", []).append(labels[row.subject])
    lines = [cause.replace("{}", listed_models(names), 1) for cause, names in causes.items()]
    for line in lines[:_DOUBTS]:
        yield from wrapped([line]) if "failed:" not in line else [line]  # an error stays one line that a search finds
    if len(lines) > _DOUBTS:
        yield f"{len(lines) - _DOUBTS} more doubts: --full"
    for count, what in ((panel.doubtful, "graded F"), (panel.failed, "failed or incomplete")):
        if count:
            yield f"{count} of {counted(panel.evaluations, 'evaluation')} {what}: --full"


def listed_models(names: Sequence[str]) -> str:
    """Names of a few models; of many, their number."""
    return ", ".join(names) if len(names) <= _DOUBTS else counted(len(names), "model")


def _is_baseline(panel: HeadlinePanel) -> bool:
    return all(row.variant.startswith(SHORTCUT) for row in panel.rows)


def _baseline_notes(panel: HeadlinePanel, baselines: Sequence[HeadlinePanel]) -> Iterable[str]:
    """The best shortcut baseline of the task."""
    for baseline in baselines:
        value = baseline.main_number(baseline.rows[0]).value
        if baseline.task == panel.task and value is not None:
            name, column = baseline.rows[0].variant, baseline.main_column.name
            yield f"Best shortcut baseline: {name} {value_text(value, panel.metric)} ({column})"


def saved_line(*, version: int, results: str, measured: int, reused: int, trained: int) -> str:
    """What a run stored, like ``Saved v2 in results · 110 new evaluations, 0 reused · 5 models trained``."""
    models = f"{counted(trained, 'model')} trained"
    counts = f"{counted(measured, 'new evaluation')}, {reused} reused"
    return SEPARATOR.join([f"Saved v{version} in {results}", counts, models])


def next_lines(version: int, results: str, *, program: str, over_seeds: bool = False) -> str:
    """Three commands that lead on from a finished run, one per line, ready to be pasted."""
    place = "" if results == "results" else f" --results {shlex.quote(results)}"
    against = f"diff v{version - 1} v{version}" if version > 1 else f"show v{version} --full"
    commands = ("report --html report.html", against, f"leaderboard{' --over-seeds' if over_seeds else ''}")
    return "Next:\n" + "\n".join(f"  {program} {command}{place}" for command in commands)
