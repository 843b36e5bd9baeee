"""Changes of calibration and out-of-distribution detection between two tables, for information."""

from collections.abc import Sequence
from typing import Final

from robustbench_wb.analysis.compare.comparison import CellDifference
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.output_scores import OUTPUT_SCORES, OutputScore
from robustbench_wb.report.text_block import Column, TextBlock

TITLE: Final = "Other scores, old -> new; they have no part in the verdicts"


def changed_outputs(pairs: Sequence[CellDifference]) -> list[TextBlock]:
    """Table of the cells that were measured anew and have such scores in both tables; none if there are no such cells.

    A cell has its values with the intervals of both sides. The samples are the same, so that the intervals of
    the two sides may overlap although the difference is certain.
    """
    anew = [
        pair
        for pair in pairs
        if not pair.is_same_record and any(_has(pair.old, pair.new, score) for score in OUTPUT_SCORES)
    ]
    if not anew:
        return []
    shown = [score for score in OUTPUT_SCORES if any(_has(pair.old, pair.new, score) for pair in anew)]
    labels = model_labels(pair.new for pair in anew)
    rows = tuple(
        (
            labels[pair.new.subject],
            pair.new.cell,
            *(
                f"{score.row_text(pair.old)} -> {score.row_text(pair.new)}" if _has(pair.old, pair.new, score) else ""
                for score in shown
            ),
        )
        for pair in anew
    )
    headings = (Column(score.unit_heading, "right") for score in shown)
    return [TextBlock(TITLE, columns=(Column("model"), Column("cell"), *headings), rows=rows)]


def _has(old: ScoreRow, new: ScoreRow, score: OutputScore) -> bool:
    return getattr(old, score.column) is not None and getattr(new, score.column) is not None
