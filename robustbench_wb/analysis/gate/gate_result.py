"""What a gate says: a judgement per cell and subject, and whether it is open. Data only, no rendering."""

from typing import Final, Literal

from robustbench_wb.analysis.compare.comparison import CellDifference, OverallDifference
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

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
"""The first one that occurs decides: what is known to be bad comes before what could not be judged."""


class GateDecision(Spec):
    """What is said of one cell, or of one subject over all its cells."""

    against: Against
    outcome: GateOutcome
    reason: str
    """One line; empty when it passed."""
    row: ScoreRow | None = None
    """The cell, as the judged version has it (missing: as the baseline has it); None for a subject."""
    margin: float
    """A share of accuracy, or a relative rise of perplexity."""
    found: CellDifference | OverallDifference | None = None
    """The comparison behind it. A claim is about a subject."""
    p: float | None = None
    """One-sided, of a drop beyond the margin; None where it was not tested."""
    adjusted_p: float | None = None
    """After Holm's correction for the cells of the family."""
    floor: float = 0.0
    """Noise of the measurement, as ``margin`` (of perplexity: a logarithm): a regression must be beyond both."""
    smallest: float | None = None
    """Of what is undecided: the smallest drop that would have been found with 80 % power (as ``margin``)."""


class GateResult(Spec):
    """All judgements on a version."""

    baseline: str
    version: str
    margins: Margins
    alpha: float = ALPHA
    strict: bool = False
    """Whether what is undecided fails."""
    judgements: tuple[GateDecision, ...]
    noise: str = ""
    """The file that the floors are from; empty without one."""
    added: tuple[ScoreRow, ...] = ()
    """Cells that the baseline has not."""

    def failing(self, judgement: GateDecision) -> bool:
        """Whether this alone would close the gate."""
        return judgement.outcome in _CODES or (self.strict and judgement.outcome == "undecided")

    @property
    def unproven(self) -> list[GateDecision]:
        """What of a subject, or of its only cell, is undecided: not shown to be worse, nor to be no worse."""
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
        """OK when the gate is open; else what closed it."""
        outcomes = {judgement.outcome for judgement in self.judgements}
        codes = [code for outcome, code in _CODES.items() if outcome in outcomes]
        undecided = ExitCode.REGRESSION if self.strict and "undecided" in outcomes else ExitCode.OK
        return codes[0] if codes else undecided


def _group(named: OverallDifference | ScoreRow) -> tuple[str, ...]:
    return (named.task, named.suite, named.scale, named.variant, named.size, named.recipe)
