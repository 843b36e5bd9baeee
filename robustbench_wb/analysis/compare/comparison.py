"""What a comparison of two tables says: a finding per cell, and claims about subjects. Data only, no rendering."""

from typing import Literal

from pydantic import ConfigDict

from robustbench_wb.analysis.compare.align import FieldDifference
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.names import Metric
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec
from robustbench_wb.stats.multiplicity import Correction

Verdict = Literal["worse", "better", "equivalent", "undecided", "incomplete", "not comparable"]


class PairedDifference(Spec):
    """A difference, how sure it is, and the verdict. The numbers are None when the samples were not compared.

    Differences are new minus old: of accuracies, as a share; of mean losses in nats per token, which is the logarithm
    of the ratio of the perplexities. Better is above 0 for accuracy and below 0 for perplexity.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    verdict: Verdict
    reason: str = ""
    """One line on a verdict that the numbers do not explain."""
    metric: Metric
    difference: float | None = None
    """None as well when samples were not judged: then it lies between ``worst`` and ``best``."""
    worst: float | None = None
    best: float | None = None
    low: float | None = None
    """Ends of the interval of confidence 1 - alpha; with unjudged samples, low that of the worst case and high that of
    the best. With a difference, None is an open end: one sample alone."""
    high: float | None = None
    narrow_low: float | None = None
    """Ends of the interval of confidence 1 - 2 alpha. It decides on equivalence, as two one-sided tests at alpha."""
    narrow_high: float | None = None
    p: float | None = None
    """Two-sided, of this finding alone; with unjudged samples, the largest that is possible."""
    detectable_drop: float | None = None
    """Smallest change for the worse, without its sign, that one test at alpha finds with 80 % power, given the samples
    and the observed share of changed ones or scatter of the differences."""
    unjudged: int = 0
    """Samples (of a claim: outcomes in all its cells) that were not judged on at least one side."""


class CellDifference(PairedDifference):
    """One cell in two tables."""

    old: ScoreRow
    new: ScoreRow
    differing: tuple[FieldDifference, ...] = ()
    """Fields that forbid the comparison."""
    allowed: tuple[FieldDifference, ...] = ()
    """Fields that would, if they had not been allowed to differ."""
    n: int | None = None
    """Samples that were paired."""
    lost: int | None = None
    """Samples that were robust in the old table and are not in the new one, judged on both sides. None for perplexity;
    so are the next."""
    gained: int | None = None
    both: int | None = None
    neither: int | None = None
    adjusted_p: float | None = None
    """After the correction for all tested cells of the family."""
    lost_ids: tuple[int, ...] = ()
    gained_ids: tuple[int, ...] = ()


class OverallDifference(PairedDifference):
    """One endpoint over all cells of a subject: the mean of the cells' differences, clustered by sample."""

    unit: Literal["checkpoint", "architecture"]
    """What it is about: the one model of a seed, or what training by the same recipe with any seed gives."""
    task: str
    suite: str
    scale: str
    variant: str
    size: str
    recipe: str
    seeds: tuple[int, ...]
    cells: int
    """Cells (of each seed) that it is over."""
    left_out: int = 0
    """Cells that stand in both tables and could not be compared."""
    samples: int = 0
    """Source samples: the clusters."""


class Comparison(Spec):
    """All pairs in the order of the new table, the claims about its subjects, and what stands in one table only."""

    old: str = ""
    """What was compared, as it was named."""
    new: str = ""
    margin: float
    """Differences up to this count as none: a share for accuracy, relative for perplexity (0.01: a factor of 1.01)."""
    alpha: float
    """Error rate of each family of cells, of each claim, and of each of the two tests of equivalence."""
    correction: Correction = "holm"
    allow: tuple[str, ...] = ()
    """Fields that were allowed to differ."""
    claims: tuple[OverallDifference, ...]
    pairs: tuple[CellDifference, ...]
    added: tuple[ScoreRow, ...]
    removed: tuple[ScoreRow, ...]

    @property
    def exit_code(self) -> ExitCode:
        """NOT_COMPARABLE when no sample of any cell could be compared, else OK whatever the verdicts."""
        compared = any(pair.n is not None and pair.n > pair.unjudged for pair in self.pairs)
        return ExitCode.OK if compared else ExitCode.NOT_COMPARABLE
