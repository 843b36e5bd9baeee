"""What word attacks find beyond random words: the gap between the accuracies under the controls and the attacks."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.estimate import Estimate
from robustbench_wb.stats.intervals import Interval
from robustbench_wb.stats.paired import tango_interval
from robustbench_wb.stressors.text_constraint import constraint_of
from robustbench_wb.stressors.threat_models import threat_model


def control_gap(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> Estimate | None:
    """Accuracy under the random controls minus accuracy under the attacks, of word attacks with one budget.

    A sample is robust if it is correct under every control, or under every attack. The interval is Tango's for paired
    samples at 95 %.

    Args:
        rows: rows of one model under the attacks and controls of one threat model and strength.
        records: records by key.

    Returns:
        The gap in [-1, 1]; None for other attacks, without a control or without an attack, and if a record or the
        outcome of a sample is missing.
    """
    words = [row for row in rows if constraint_of(row.signature)]
    controls = [row for row in words if _is_control(row)]
    attacks = [row for row in words if not _is_control(row)]
    known = [records[row.key] for row in words if row.status == "ok" and row.key in records]
    same = all(np.array_equal(record.ids, known[0].ids) for record in known)
    if not controls or not attacks or len(known) < len(words) or not same:
        return None
    safe, left = _robust(controls, records), _robust(attacks, records)
    n, found, missed = len(safe), int((safe & ~left).sum()), int((left & ~safe).sum())
    low, high = tango_interval([n], [missed], [found])
    return Estimate((found - missed) / n, Interval(float(low[0]), float(high[0])))


def _is_control(row: ScoreRow) -> bool:
    threat = threat_model(row.signature)
    return threat is not None and threat.kind == "control"


def _robust(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> NDArray[np.bool_]:
    """Whether each sample is correct under all rows, (N,)."""
    found: NDArray[np.bool_] = np.all([records[row.key].states == State.ROBUST for row in rows], axis=0)
    return found
