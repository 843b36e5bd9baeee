"""Scores and comparisons as CSV (RFC 4180): a stable column order, numbers in full precision."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison, OverallDifference, change_columns
from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking, RankedModel
from robustbench_wb.analysis.over_seeds.seed_means import SeedMeans, seed_mean_lines
from robustbench_wb.records.score_row import ScoreRow

COLUMNS: Final = tuple(ScoreRow.model_fields)
"""Columns of scores, in order: the fields of ``ScoreRow``. New columns go to the end."""

_NAMES: Final = ("task", "suite", "scale", "variant", "size", "recipe", "stressor", "strength", "family")
DIFF_COLUMNS: Final = (
    *("unit", *_NAMES, "seeds", "metric", "verdict", "reason"),
    *("old_accuracy", "new_accuracy", "old_perplexity", "new_perplexity"),
    *("difference", "worst", "best", "low", "high", "narrow_low", "narrow_high", "p", "adjusted_p", "detectable_drop"),
    *("n", "cells", "left_out", "lost", "gained", "both", "neither", "unjudged", "differing", "allowed"),
    *change_columns(()),
)
"""Columns of a comparison, in order. New columns go to the end."""

_PANEL: Final = tuple(name for name in PanelRanking.model_fields if name not in ("lines", "headline"))
RANKING_COLUMNS: Final = (*_PANEL, *RankedModel.model_fields)
"""Columns of rankings, in order: fields of ``PanelRanking``, then ``RankedModel``. New ones go to the end."""

# Spreadsheets run a cell that begins with one of these characters as a formula; they trim tab and return first.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def rows_csv(rows: Iterable[ScoreRow]) -> str:
    """Score rows as CSV with a header and CRLF line ends.

    Floats are written in full precision, None is empty. Text that a spreadsheet would run as a formula gets a leading
    apostrophe.
    """
    return _table(COLUMNS, (row.model_dump() for row in rows))


def ranking_csv(rankings: Iterable[PanelRanking]) -> str:
    """Rankings as CSV, a line per model and panel; None is empty, and several ``n`` are joined by a blank."""
    lines = [
        {**ranking.model_dump(include=set(_PANEL)), **line.model_dump()}
        for ranking in rankings
        for line in ranking.lines
    ]
    return _table(RANKING_COLUMNS, lines)


def seed_means_csv(means: SeedMeans) -> str:
    """Headline numbers over seeds as CSV, a line per architecture and number; several seeds are joined by a blank."""
    lines = seed_mean_lines(means)
    return _table(list(lines[0]) if lines else [], lines)


def comparison_csv(comparison: Comparison, ids: bool = False) -> str:
    """Overall differences of models, then cells of a comparison as CSV, one line each; fields of ``Comparison``.

    ``unit`` is ``checkpoint``, ``architecture`` or ``cell``. Lists are joined by a blank, and inapplicable columns are
    empty.

    Args:
        comparison: the comparison to write.
        ids: whether to add columns with the ids of lost and gained samples.
    """
    columns = DIFF_COLUMNS + (("lost_ids", "gained_ids") if ids else ())
    lines = [*map(_difference, comparison.claims), *map(_difference, comparison.pairs)]
    for line, pair in zip(lines[len(comparison.claims) :], comparison.pairs, strict=True):
        line["lost_ids"] = [comparison.sample_name(one) for one in pair.lost_ids]
        line["gained_ids"] = [comparison.sample_name(one) for one in pair.gained_ids]
    return _table(columns, lines)


def _difference(found: OverallDifference | CellDifference) -> dict[str, object]:
    line = {name: value for name, value in found.model_dump().items() if name not in ("old", "new")}
    if isinstance(found, OverallDifference):
        return {**line, "n": found.samples}
    names = {name: getattr(found.new, name) for name in _NAMES}
    sides = {f"{side}_{name}": getattr(row, name) for side, row in _sides(found) for name in ("accuracy", "perplexity")}
    fields = {name: [item.field for item in getattr(found, name)] for name in ("differing", "allowed")}
    added = {**sides, **fields, **change_columns(found.changes)}
    return {**line, **names, **added, "unit": "cell", "seeds": (found.new.seed,)}


def _sides(pair: CellDifference) -> tuple[tuple[str, ScoreRow], tuple[str, ScoreRow]]:
    return ("old", pair.old), ("new", pair.new)


def _table(columns: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    target = io.StringIO(newline="")
    writer = csv.writer(target)
    writer.writerow(columns)
    writer.writerows([_cell(line.get(name)) for name in columns] for line in lines)
    return target.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    if isinstance(value, float):
        return repr(value)
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
