"""What a check of claims says: a verdict per sentence with its evidence. Data only, no rendering."""

from typing import Final, Literal

from pydantic import ConfigDict

from robustbench_wb.analysis.claims.sentence import ClaimSentence
from robustbench_wb.analysis.compare.align import FieldDifference
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.names import Metric
from robustbench_wb.spec import Spec

ClaimVerdict = Literal["holds", "refuted", "undecided", "not comparable", "incomplete"]

ALPHA: Final = 0.05
_CODES: Final[dict[ClaimVerdict, ExitCode]] = {
    "refuted": ExitCode.REGRESSION,
    "not comparable": ExitCode.NOT_COMPARABLE,
    "incomplete": ExitCode.INCOMPLETE,
}
"""The first one that occurs decides."""


class CitedCell(Spec):
    """One cell that a sentence rests on."""

    cell: str
    seed: int
    signature: str
    key: str
    """Address of the record of the subject."""
    than_key: str = ""
    """That of the other; empty for a level."""


class ClaimEvidence(Spec):
    """The numbers behind a verdict.

    A comparison has differences, first model minus second: of accuracies as a share, of perplexities as the logarithm
    of their ratio. A level has the accuracy as a share, or the logarithm of the perplexity.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    worst: float
    """The estimate, if what was not judged came out badly; else equal to ``best``."""
    best: float
    low: float | None
    """Ends of the 95 % interval; None is an open end. So the next ones, of the 90 % interval."""
    high: float | None
    narrow_low: float | None
    narrow_high: float | None
    n: int
    """Samples; over several cells each is one cluster."""
    p_holds: float
    """One-sided, of the sentence being true by chance alone: small when it is supported."""
    p_refuted: float
    """Likewise of its opposite."""


class CheckedClaim(Spec):
    """One sentence and what was found."""

    sentence: ClaimSentence
    verdict: ClaimVerdict
    reason: str = ""
    """One line on a verdict that the numbers do not explain."""
    differing: tuple[FieldDifference, ...] = ()
    """Fields that forbid the comparison."""
    metric: Metric = "accuracy"
    evidence: ClaimEvidence | None = None
    adjusted_holds: float | None = None
    """After Holm's correction for all sentences of the file; so the next one, for all refutations."""
    adjusted_refuted: float | None = None
    reach: float | None = None
    """Of what is undecided: so far from the limit must the truth be to be shown with 80 % power, before the
    correction; in the unit of the estimate."""
    seeds: tuple[int, ...] = ()
    cited: tuple[CitedCell, ...] = ()
    cautions: tuple[str, ...] = ()
    """Numbers that are likely too high, and what was left out."""


class ClaimsResult(Spec):
    """All sentences of a file, in its order."""

    file: str
    version: str
    alpha: float = ALPHA
    strict: bool = False
    """Whether what is undecided fails."""
    claims: tuple[CheckedClaim, ...]

    @property
    def exit_code(self) -> ExitCode:
        """OK when all sentences hold or, unless it is strict, are undecided."""
        verdicts = {claim.verdict for claim in self.claims}
        if self.strict and "undecided" in verdicts:
            return ExitCode.REGRESSION
        return next((code for verdict, code in _CODES.items() if verdict in verdicts), ExitCode.OK)
