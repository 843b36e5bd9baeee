"""Rankings as text: ranks with intervals and all headline numbers, means, costs, and signatures to cite."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking, RankedModel
from robustbench_wb.report.headline import GROUP_NOTE, RANK_NOTE, headline_table, headline_title
from robustbench_wb.report.headline_text import value_text
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.text_block import Column, TextBlock, counted, fit_width

_COLUMNS: Final = (
    Column("model"),
    Column("mean", "right"),
    Column("clean", "right"),
    Column("worst", "right"),
    Column("in cell"),
    Column("grade"),
    Column("cells", "right"),
    Column("n", "right"),
)
_DISPENSABLE: Final = ("n", "clean", "in cell", "cells")
_COSTS: Final = (
    Column("model"),
    Column("parameters", "right"),
    Column("FLOPs", "right"),
    Column("memory", "right"),
    Column("training", "right"),
    Column("forwards", "right"),
    Column("backwards", "right"),
)
_PREFIXES: Final = ("", "k", "M", "G", "T", "P")


def ranking_blocks(rankings: Iterable[PanelRanking], width: int | None = None) -> list[TextBlock]:
    """For each panel the ranking with all headline numbers, then means over all cells, costs and signatures.

    Args:
        rankings: rankings of one table.
        width: terminal columns to fit by dropping less important columns; None keeps all.
    """
    blocks: list[TextBlock] = []
    for ranking in rankings:
        labels = model_labels(ranking.headline.rows)
        names = [labels[row.subject] for row in ranking.headline.rows]
        blocks += [_ranks(ranking, names, width), _means(ranking, names, width), _costs(ranking, names)]
    return blocks


def ranking_title(ranking: PanelRanking) -> str:
    """Title with metric, task, number of samples, seeds, suite and scale."""
    return headline_title(ranking.headline)


def _ranks(ranking: PanelRanking, names: Sequence[str], width: int | None) -> TextBlock:
    block = headline_table(ranking.headline, ranks=True, every=True, width=width)
    column = ranking.headline.main_column
    notes = [f"ranked by {column.name} [95 % CI]: {_rule(ranking)}"]
    notes += [f"{RANK_NOTE}; {counted(ranking.tests, 'paired test')}", GROUP_NOTE]
    notes.append("models measured on other cells or another number of samples are ranked apart")
    notes += _reasons(names, [ranking.headline.main_number(row).note for row in ranking.headline.rows])
    return replace(block, title=f"{ranking_title(ranking)}: ranking", notes=tuple(notes))


def _rule(ranking: PanelRanking) -> str:
    """How the number that ranks is made."""
    column = ranking.headline.main_column
    if column.rule == "joint":
        return f"correct when clean and under every attack ({', '.join(column.cells)})"
    kind = "accuracy" if ranking.metric == "accuracy" else "perplexity, lower is better"
    return f"mean {kind}, over {counted(len(column.cells), 'cell')}" if len(column.cells) > 1 else f"{kind}, one cell"


def _means(ranking: PanelRanking, names: Sequence[str], width: int | None) -> TextBlock:
    rows = tuple(_row(ranking, line, name) for line, name in zip(ranking.lines, names, strict=True))
    if ranking.metric == "accuracy":
        notes = ["mean: mean accuracy over all cells [95 % CI]; a failed or F-graded cell counts as 0"]
    else:
        notes = ["mean: geometric mean perplexity over all cells [95 % CI]; none if a cell failed"]
    notes += _reasons(names, [line.reason for line in ranking.lines])
    styles = {"F": "red", "C": "yellow"}
    block = TextBlock("Mean over all cells", columns=_COLUMNS, rows=rows, notes=tuple(notes), styles=styles)
    return fit_width(block, width, _DISPENSABLE)


def _reasons(names: Sequence[str], reasons: Sequence[str]) -> list[str]:
    """Notes on the models, one line per distinct reason."""
    found: dict[str, list[str]] = {}
    for name, reason in zip(names, reasons, strict=True):
        if reason:
            found.setdefault(reason, []).append(name)
    return [f"{', '.join(members)}: {reason}" for reason, members in found.items()]


def _row(ranking: PanelRanking, line: RankedModel, name: str) -> tuple[str, ...]:
    count = f"{line.cells}" if line.counted == line.cells else f"{line.counted} of {line.cells}"
    clean, worst = (_value(ranking, value) for value in (line.clean, line.worst))
    return name, _score(ranking, line), clean, worst, line.worst_cell, line.grade, count, " ".join(map(str, line.n))


def _score(ranking: PanelRanking, line: RankedModel) -> str:
    value = _value(ranking, line.score)
    if line.low is None:
        return value
    return f"{value} [{_value(ranking, line.low)}, {_value(ranking, line.high) or 'inf'}]"


def _value(ranking: PanelRanking, value: float | None) -> str:
    return "" if value is None else value_text(value, ranking.metric)


def _costs(ranking: PanelRanking, names: Sequence[str]) -> TextBlock:
    rows, notes = [], ["FLOPs per forward pass; peak memory per input gradient; passes per sample, mean over cells"]
    for line, name in zip(ranking.lines, names, strict=True):
        flops = _scaled(line.flops, "") if line.flops else ""
        memory = _scaled(line.peak_memory, "B") if line.peak_memory else ""
        passes = (f"{line.forwards:.1f}", f"{line.backwards:.1f}")
        rows.append((name, f"{line.parameters:,}", flops, memory, f"{line.train_seconds:.1f} s", *passes))
        notes.append(f"{name}: {line.signature}")
    return TextBlock("Cost", columns=_COSTS, rows=tuple(rows), notes=tuple(notes))


def _scaled(value: float, unit: str) -> str:
    """Value with three significant digits and a decimal prefix, like ``6.99 M`` or ``1.02 MB``."""
    at = 0
    while float(f"{value:.3g}") >= 1000 and at < len(_PREFIXES) - 1:
        value, at = value / 1000, at + 1
    return f"{value:.3g} {_PREFIXES[at]}{unit}".rstrip()
