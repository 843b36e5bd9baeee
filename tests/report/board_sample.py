"""Leaderboard with every kind of line: significant and tied ranks, an F-graded cell, a failed cell, missing records."""

import numpy as np

from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking
from robustbench_wb.analysis.leaderboard.rank_panels import rank_panels
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from tests.report.sample import text_run
from tests.store.make import record, row

CELLS = (("clean", ""), ("pgd-linf", "2/255"), ("pgd-linf", "8/255"), ("pgd-l2", "1"))
SHARES = {
    "vit": (0.95, 0.6, 0.2, 0.0),
    "crate": (0.85, 0.72, 0.55, None),
    "boosting": (0.86, 0.73, 0.54, 0.01),
    "gone": (0.9, 0.8, 0.7, 0.6),
}


def board_run() -> tuple[list[ScoreRow], dict[str, Record]]:
    """Rows and records of a run; the records of the model ``gone`` are missing."""
    ease = np.random.default_rng(5).permutation(500)
    rows, records = [], {}
    for variant, shares in SHARES.items():
        for (stressor, strength), share in zip(CELLS, shares, strict=True):
            if share is None:
                rows.append(
                    row(None, 500, "SubjectError: [b]no", variant=variant, stressor=stressor, strength=strength)
                )
                continue
            outcome = np.where(ease < 500 * share, State.ROBUST, State.BROKEN).tolist()
            made = record(outcome, signature=f"{stressor};eps={strength}", model_code=variant)
            own = {"flops": 6_990_080, "peak_memory": 1_024_872}
            graded = {"grade": "F" if (variant, strength) == ("vit", "8/255") else "B"} if strength else {}
            shown = row(made, variant=variant, stressor=stressor, strength=strength)
            rows.append(shown.model_copy(update={**own, **graded}))
            if variant != "gone":
                records[made.key] = made
    return rows, records


def board() -> tuple[list[ScoreRow], list[PanelRanking]]:
    """Table with classification and language modelling, and its rankings."""
    rows, records = board_run()
    text_rows, text_records = text_run()
    every = [*rows, *text_rows]
    return every, rank_panels(every, {**records, **text_records})
