"""Stopping rule of a run: a cell needs no more samples once the sequential gate has decided on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from robustbench_wb.analysis.compare.comparison import CellDifference
from robustbench_wb.analysis.gate.decide_gate import decide_gate
from robustbench_wb.analysis.gate.gate_result import GateDecision, GateResult
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.analysis.gate.noise_floor import NoiseFloor
from robustbench_wb.analysis.gate.sequential import SequentialRule
from robustbench_wb.analysis.score import score_rows
from robustbench_wb.records.names import Slot, suite_family
from robustbench_wb.records.record import Measurement, Record
from robustbench_wb.records.score_row import ScoreRow

_DECIDED: Final = ("regressed", "passed")


@dataclass(frozen=True, eq=False, kw_only=True)
class UntilDecided:
    """Decides on the cells of a run against a baseline, and its pinned ancestor, as ``gate --sequential`` does.

    A cell is decided when each side says that its drop exceeds the margin, or that it is smaller. Cells that a side
    does not have, or that cannot be compared with it, are never decided.
    """

    name: str
    """Name of the baseline."""
    old: Sequence[ScoreRow]
    """Rows of the baseline."""
    pinned: Sequence[ScoreRow]
    """Rows of the pinned ancestor of the baseline; empty if the baseline is pinned itself."""
    records: Mapping[str, Record]
    """Records of both by key."""
    margins: Margins
    noise: NoiseFloor | None = None

    def decided(self, cells: Sequence[Measurement]) -> dict[Slot, str]:
        """Why cells of one model need no more samples, by slot; see ``robustbench_wb.engine.stopping.StoppingRule``."""
        own = {cell.record.key: cell.record for cell in cells if cell.record is not None}
        found: dict[Slot, list[GateDecision]] = {}
        for decision in self.gate(score_rows(cells), own).judgements:
            if decision.row is not None and isinstance(decision.found, CellDifference):
                found.setdefault(decision.row.slot, []).append(decision)
        return {
            slot: "; ".join(dict.fromkeys(self._reason(one) for one in decisions))
            for slot, decisions in found.items()
            if all(one.used is not None and one.outcome in _DECIDED for one in decisions)
        }

    def gate(self, rows: Sequence[ScoreRow], records: Mapping[str, Record], version: str = "") -> GateResult:
        """The sequential gate of the evaluations of some models, against those of the same models and suites.

        Args:
            rows: the evaluations.
            records: their records by key.
            version: name of the version, for the result.
        """
        models = set(map(_model_key, rows))
        old, pinned = ([row for row in side if _model_key(row) in models] for side in (self.old, self.pinned))
        known = {row.key: self.records[row.key] for row in (*old, *pinned) if row.key in self.records}
        return decide_gate(
            old,
            pinned,
            rows,
            records={**known, **records},
            margins=self.margins,
            baseline=self.name,
            version=version,
            noise=self.noise,
            sequential=SequentialRule(),
        )

    def _reason(self, decision: GateDecision) -> str:
        side = self.name if decision.against == "baseline" else f"the pinned ancestor of {self.name}"
        points = f"{100 * decision.margin:g} points"
        return f"{decision.outcome} against {side}: {decision.stopped} of {points}"


def _model_key(row: ScoreRow) -> tuple[str, ...]:
    return (row.task, row.scale, suite_family(row.suite), *row.subject)
