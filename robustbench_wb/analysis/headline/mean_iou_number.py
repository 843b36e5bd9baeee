"""Mean IoU of a headline column, in segmentation."""

from collections.abc import Mapping, Sequence

import numpy as np

from robustbench_wb.analysis.headline.headline import ColumnRule
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.pixel_counts import MeanIou, mean_iou, worst_counts


def mean_iou_number(rows: Sequence[ScoreRow], rule: ColumnRule, records: Mapping[str, Record]) -> MeanIou | None:
    """Mean IoU of one model over the evaluations of a column; None for other tasks, and if anything is missing.

    Args:
        rows: rows of one model that the column combines; of a joint column also the clean row.
        rule: rule of the column: a joint one has the smallest IoU of each image.
        records: records by key.
    """
    found = [records[row.key] for row in rows if row.miou is not None and row.key in records]
    counts = [record.pixels for record in found if record.pixels is not None]
    if not rows or len(counts) < len(rows) or any(not np.array_equal(one.ids, found[0].ids) for one in found):
        return None
    return mean_iou([worst_counts(counts)] if rule == "joint" else counts)
