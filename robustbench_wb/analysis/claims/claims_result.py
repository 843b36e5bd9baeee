"""Result of checking a claims file: a verdict per sentence with its evidence. Data only."""

from typing import TYPE_CHECKING, Final, Literal

from pydantic import ConfigDict

from robustbench_wb.analysis.claims.sentence import ClaimSentence
from robustbench_wb.analysis.compare.align import FieldDifference
from robustbench_wb.errors import ExitCode
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    import pandas as pd

ClaimVerdict = Literal["holds", "refuted", "undecided", "not comparable", "incomplete"]

ALPHA: Final = 0.05
"""Family-wise error rate of a claims file."""
_CODES: Final[dict[ClaimVerdict, ExitCode]] = {
    "refuted": ExitCode.REGRESSION,
    "not comparable": ExitCode.NOT_COMPARABLE,
    "incomplete": ExitCode.INCOMPLETE,
}
"""Exit code of each failing verdict; the first verdict that occurs decides."""


class CitedCell(Spec):
    """Cell that a sentence rests on."""

    cell: str
    seed: int
    signature: str
    key: str
    """Record key of the first model."""
    than_key: str = ""
    """Record key of the second model; empty if the sentence compares with a level."""


class ClaimEvidence(Spec):
    """Numbers behind a verdict.

    For a comparison they are differences, first model minus second: of accuracies as a share, of perplexities as the
    logarithm of their ratio. For a level they are an accuracy as a share, or the logarithm of a perplexity. For layers
    they are values of the measure, or its last layer minus the first.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    worst: float
    """Estimate if all unjudged samples came out against the first model; equal to ``best`` if there are none."""
    best: float
    """Estimate if all unjudged samples came out in favour of the first model."""
    low: float | None
    """Low end of the 95 % interval; None is an open end."""
    high: float | None
    """High end of the 95 % interval; None is an open end."""
    narrow_low: float | None
    """Low end of the 90 % interval; None is an open end."""
    narrow_high: float | None
    """High end of the 90 % interval; None is an open end."""
    n: int
    """Number of samples; with several cells each sample is one cluster."""
    layer: int | None = None
    """Layer whose value decides a sentence about every layer, from 1; None for all other sentences."""
    p_holds: float
    """One-sided p-value of the test that supports the sentence; small if it is supported."""
    p_refuted: float
    """One-sided p-value of the test that rejects the sentence; small if it is rejected."""


class CheckedClaim(Spec):
    """Sentence with its verdict and evidence."""

    sentence: ClaimSentence
    verdict: ClaimVerdict
    reason: str = ""
    """One-line reason for a verdict that does not follow from the numbers."""
    differing: tuple[FieldDifference, ...] = ()
    """Differences of fields that forbid the comparison."""
    metric: str = "accuracy"
    """``accuracy``, ``perplexity`` or, for a sentence about layers, the name of its measure."""
    evidence: ClaimEvidence | None = None
    adjusted_holds: float | None = None
    """``p_holds`` after Holm's correction over all sentences of the file."""
    adjusted_refuted: float | None = None
    """``p_refuted`` after Holm's correction over all sentences of the file."""
    reach: float | None = None
    """Minimum detectable effect of an undecided sentence: distance of the true value from the limit that is detected
    with 80 % power before the correction, in the unit of the estimate."""
    seeds: tuple[int, ...] = ()
    cited: tuple[CitedCell, ...] = ()
    cautions: tuple[str, ...] = ()
    """Warnings about numbers that are likely too high, and about cells or seeds that were left out."""


class ClaimsResult(Spec):
    """All sentences of a file, in file order."""

    file: str
    version: str
    alpha: float = ALPHA
    strict: bool = False
    """Whether undecided sentences fail."""
    claims: tuple[CheckedClaim, ...]

    @property
    def exit_code(self) -> ExitCode:
        """OK if every sentence holds or, unless ``strict``, is undecided."""
        verdicts = {claim.verdict for claim in self.claims}
        if self.strict and "undecided" in verdicts:
            return ExitCode.REGRESSION
        return next((code for verdict, code in _CODES.items() if verdict in verdicts), ExitCode.OK)

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per sentence."""
        left_out = ("sentence", "evidence", "differing", "cited")
        return to_frame(
            {
                "sentence": claim.sentence.text,
                **columns(claim, left_out),
                **({} if claim.evidence is None else columns(claim.evidence)),
            }
            for claim in self.claims
        )
