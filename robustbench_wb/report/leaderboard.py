"""Rankings as text: ranks with intervals, costs, and signatures to cite."""

from collections.abc import Iterable, Sequence
from typing import Final

from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking, RankedModel
from robustbench_wb.records.names import variant_name
from robustbench_wb.records.score_row import PanelKey
from robustbench_wb.report.scores import panel_title, perplexity_text
from robustbench_wb.report.text_block import Column, TextBlock, fit_width

_COLUMNS: Final = (
    Column("rank"),
    Column("group"),
    Column("model"),
    Column("score", "right"),
    Column("clean", "right"),
    Column("worst", "right"),
    Column("in cell"),
    Column("grade"),
    Column("cells", "right"),
    Column("n", "right"),
)
_DISPENSABLE: Final = ("n", "clean", "in cell", "cells", "group")
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
    """For each panel the ranking, then the costs and signatures of its models.

    Args:
        rankings: rankings of one table.
        width: terminal columns to fit by dropping less important columns; None keeps all.
    """
    blocks: list[TextBlock] = []
    for ranking in rankings:
        names = model_names(ranking)
        blocks += [_ranks(ranking, names, width), _costs(ranking, names)]
    return blocks


def ranking_title(ranking: PanelRanking) -> str:
    """Title with task, scale, protocol unless it is the default, metric, and suite."""
    panel = PanelKey(
        task=ranking.task,
        scale=ranking.scale,
        suite=ranking.suite,
        suite_version=ranking.suite_version,
        metric=ranking.metric,
        protocol=ranking.protocol,
        n=ranking.lines[0].n[0],
    )
    return f"{panel_title(panel)}, suite {ranking.suite} v{ranking.suite_version}"


def model_names(ranking: PanelRanking) -> list[str]:
    """Name of each ranked model, with its recipe and seed if they vary."""
    recipes = len({line.recipe for line in ranking.lines if line.recipe}) > 1
    seeds = len({line.seed for line in ranking.lines}) > 1
    return [_name(line, recipes, seeds) for line in ranking.lines]


def _name(line: RankedModel, recipe: bool, seed: bool) -> str:
    parts = [variant_name(line)]
    parts += [line.recipe] if recipe and line.recipe else []
    return " ".join([*parts, f"seed {line.seed}"] if seed else parts)


def _ranks(ranking: PanelRanking, names: Sequence[str], width: int | None) -> TextBlock:
    rows = tuple(_row(ranking, line, name) for line, name in zip(ranking.lines, names, strict=True))
    notes, styles = tuple(_notes(ranking, names)), {"F": "red", "C": "yellow"}
    block = TextBlock(f"{ranking_title(ranking)}: ranking", columns=_COLUMNS, rows=rows, notes=notes, styles=styles)
    return fit_width(block, width, _DISPENSABLE)


def _row(ranking: PanelRanking, line: RankedModel, name: str) -> tuple[str, ...]:
    rank = f"{line.rank}" if line.rank_low is None else f"{line.rank} [{line.rank_low}, {line.rank_high}]"
    count = f"{line.cells}" if line.counted == line.cells else f"{line.counted} of {line.cells}"
    clean, worst = (_value(ranking, value) for value in (line.clean, line.worst))
    n = " ".join(map(str, line.n))
    return rank, line.group, name, _score(ranking, line), clean, worst, line.worst_cell, line.grade, count, n


def _score(ranking: PanelRanking, line: RankedModel) -> str:
    value = _value(ranking, line.score)
    if line.low is None:
        return value
    return f"{value} [{_value(ranking, line.low)}, {_value(ranking, line.high) or 'inf'}]"


def _value(ranking: PanelRanking, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f}" if ranking.metric == "accuracy" else perplexity_text(value)


def _notes(ranking: PanelRanking, names: Sequence[str]) -> Iterable[str]:
    yield f"rank [interval]: simultaneous 95 % rank intervals ({ranking.tests} paired tests, Holm-corrected)"
    yield "group: models sharing a letter do not differ significantly"
    if ranking.metric == "accuracy":
        yield "score: mean accuracy over all cells; a failed or F-graded cell counts as 0"
    else:
        yield "score: geometric mean perplexity over all cells, lower is better; none if a cell failed"
    yield "models measured on other cells or another number of samples are ranked apart"
    reasons: dict[str, list[str]] = {}
    for line, name in zip(ranking.lines, names, strict=True):
        if line.reason:
            reasons.setdefault(line.reason, []).append(name)
    for reason, found in reasons.items():
        yield f"no intervals for {', '.join(found)}: {reason}"


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
