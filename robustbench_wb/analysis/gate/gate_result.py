"""Result of a gate: a decision per cell and model, and the exit code. Data only."""

from typing import TYPE_CHECKING, Final, Literal

from robustbench_wb.analysis.compare.comparison import CellDifference, OverallDifference
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.analysis.gate.sequential import SequentialRule
from robustbench_wb.errors import ExitCode
from robustbench_wb.frames import columns, names, to_frame
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    import pandas as pd

GateOutcome = Literal["passed", "undecided", "regressed", "doubtful", "not comparable", "incomplete", "missing"]
Against = Literal["baseline", "pinned ancestor"]

ALPHA: Final = 0.05
"""Level of every test of a gate."""
_CODES: Final[dict[GateOutcome, ExitCode]] = {
    "regressed": ExitCode.REGRESSION,
    "doubtful": ExitCode.CREDIBILITY,
    "not comparable": ExitCode.NOT_COMPARABLE,
    "incomplete": ExitCode.INCOMPLETE,
    "missing": ExitCode.INCOMPLETE,
}
"""Exit code of each failing outcome. The first outcome that occurs decides: known regressions come first."""


class GateDecision(Spec):
    """Decision on one cell, or on one model over all its cells."""

    against: Against
    outcome: GateOutcome
    reason: str
    """One-line reason; empty if the cell or model passed."""
    row: ScoreRow | None = None
    """Row of the version, or of the baseline if the version lacks the cell; None for a model."""
    margin: float
    """Accepted drop: a share of accuracy, or a relative rise of perplexity."""
    found: CellDifference | OverallDifference | None = None
    """Compared difference: of a cell, or overall for a model."""
    p: float | None = None
    """One-sided p-value of a drop beyond the margin; None if it was not tested."""
    adjusted_p: float | None = None
    """p-value after Holm's correction for the cells of the family."""
    floor: float = 0.0
    """Noise floor, a share of accuracy or nats of a loss; a regression must exceed margin plus floor."""
    smallest: float | None = None
    """Minimum detectable drop of an undecided decision at 80 % power, in the unit of ``margin``."""
    used: int | None = None
    """Samples that a sequential decision looked at; None if it was made on all samples at once."""
    stopped: str = ""
    """Why a sequential decision looked at no further sample."""


class GateResult(Spec):
    """All decisions on a version."""

    baseline: str
    version: str
    margins: Margins
    alpha: float = ALPHA
    strict: bool = False
    """Whether undecided cells and models close the gate."""
    judgements: tuple[GateDecision, ...]
    sequential: SequentialRule | None = None
    """How the samples were looked at one after the other; None: all at once."""
    noise: str = ""
    """File with the noise floors; empty without one."""
    added: tuple[ScoreRow, ...] = ()
    """Cells that are not in the baseline."""
    notes: tuple[str, ...] = ()
    """What is unusual about the two tables, one line each."""

    @property
    def identical(self) -> int | None:
        """Number of cells if baseline and version have the same cells with the same records; else None."""
        cells = [item for item in self.judgements if item.against == "baseline" and item.row is not None]
        pairs = [item.found for item in cells if isinstance(item.found, CellDifference)]
        doubtful = sum(item.outcome == "doubtful" for item in cells)
        same = len(pairs) + doubtful == len(cells) and all(pair.is_same_record for pair in pairs)
        return len(pairs) if pairs and same and not self.added else None

    def failing(self, decision: GateDecision) -> bool:
        """Whether this decision alone closes the gate."""
        return decision.outcome in _CODES or (self.strict and decision.outcome == "undecided")

    @property
    def unproven(self) -> list[GateDecision]:
        """Undecided models, and undecided cells of models with a single cell: shown neither worse nor non-inferior."""
        groups = [item for item in self.judgements if isinstance(item.found, OverallDifference)]
        several = {(item.against, *_group(item.found)) for item in groups if isinstance(item.found, OverallDifference)}
        alone = [
            item
            for item in self.judgements
            if isinstance(item.found, CellDifference) and (item.against, *_group(item.found.new)) not in several
        ]
        return [item for item in (*groups, *alone) if item.outcome == "undecided"]

    @property
    def exit_code(self) -> ExitCode:
        """OK if the gate is open, else the code of the first failing outcome in the order of severity."""
        outcomes = {decision.outcome for decision in self.judgements}
        codes = [code for outcome, code in _CODES.items() if outcome in outcomes]
        undecided = ExitCode.REGRESSION if self.strict and "undecided" in outcomes else ExitCode.OK
        return codes[0] if codes else undecided

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per decision; those on a model over all its cells name no stressor."""
        return to_frame(
            {**names(item.row or item.found), **columns(item, ("row", "found"))} for item in self.judgements
        )


def _group(named: OverallDifference | ScoreRow) -> tuple[str, ...]:
    return (named.task, named.suite, named.scale, named.variant, named.size, named.recipe)
