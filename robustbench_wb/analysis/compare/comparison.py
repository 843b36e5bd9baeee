"""Result of comparing two tables: a difference per cell and an overall difference per model. Data only."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

from pydantic import ConfigDict, InstanceOf, PlainSerializer

from robustbench_wb.analysis.compare.align import FieldDifference
from robustbench_wb.analysis.compare.sample_ids import SampleIds
from robustbench_wb.errors import ExitCode
from robustbench_wb.frames import columns, names, to_frame
from robustbench_wb.records.names import Metric
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec
from robustbench_wb.stats.multiplicity import Correction

if TYPE_CHECKING:
    import pandas as pd

Score = Literal["ece", "brier", "auroc", "miou"]
"""Other scores of a cell, by their column in ``ScoreRow``."""
SCORES: Final[tuple[Score, ...]] = get_args(Score)
Verdict = Literal["worse", "better", "equivalent", "undecided", "incomplete", "not comparable"]


class PairedDifference(Spec):
    """Difference with its intervals, p-value and verdict. Numbers are None if the samples were not compared.

    Differences are new minus old. For accuracy they are shares. For perplexity they are differences of mean losses in
    nats per token, that is, logarithms of the ratio of perplexities. Positive is better for accuracy, negative is
    better for perplexity.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    verdict: Verdict
    reason: str = ""
    """One-line reason for a verdict that does not follow from the numbers."""
    metric: Metric
    difference: float | None = None
    """Estimate; None if samples are unjudged, and the estimate lies between ``worst`` and ``best``."""
    worst: float | None = None
    """Estimate if every unjudged sample came out in favour of the old side."""
    best: float | None = None
    """Estimate if every unjudged sample came out in favour of the new side."""
    low: float | None = None
    """Low end of the 1 - alpha interval, with unjudged samples that of the worst case. None next to a difference means
    an open end, which happens with a single sample."""
    high: float | None = None
    """High end of the 1 - alpha interval, with unjudged samples that of the best case. None like ``low``."""
    narrow_low: float | None = None
    """Low end of the 1 - 2 alpha interval, which decides on equivalence as two one-sided tests at alpha."""
    narrow_high: float | None = None
    """High end of the 1 - 2 alpha interval."""
    p: float | None = None
    """Unadjusted two-sided p-value; with unjudged samples, the largest possible one."""
    detectable_drop: float | None = None
    """Minimum detectable effect for the worse, as an absolute value, of one test at alpha with 80 % power. Takes the
    samples and the observed share of changed samples, or standard deviation of the differences, as given."""
    unjudged: int = 0
    """Samples that were not judged on at least one side; summed over the cells of an overall difference."""


class ScoreChange(Spec):
    """Change of another score of a cell than accuracy or perplexity, for information: it decides no verdict."""

    score: Score
    """Column of ``ScoreRow`` that holds the score."""
    difference: float
    """Score of the new side minus that of the old side."""
    low: float
    """Low end of the 95 % interval of the difference over paired samples."""
    high: float
    """High end of the interval."""
    p: float | None = None
    """Two-sided p-value of a permutation test, for mean IoU; None for other scores."""


class CellDifference(PairedDifference):
    """Difference of one cell between two tables."""

    old: ScoreRow
    new: ScoreRow
    differing: tuple[FieldDifference, ...] = ()
    """Differences of fields that forbid the comparison."""
    allowed: tuple[FieldDifference, ...] = ()
    """Differences of fields that would forbid the comparison, but that the user allows."""
    n: int | None = None
    """Number of paired samples."""
    lost: int | None = None
    """Samples judged on both sides that are robust in the old table only; None for perplexity."""
    gained: int | None = None
    """Samples judged on both sides that are robust in the new table only; None for perplexity."""
    both: int | None = None
    """Samples that are robust in both tables; None for perplexity."""
    neither: int | None = None
    """Samples judged on both sides that are robust in neither table; None for perplexity."""
    changes: tuple[ScoreChange, ...] = ()
    """Changes of the scores that both records have, see ``robustbench_wb.analysis.compare.score_changes``; empty for
    one record on both sides, and if a sample is missing."""
    adjusted_p: float | None = None
    """p-value after the correction for all tested cells of the family."""
    lost_ids: Annotated[InstanceOf[SampleIds], PlainSerializer(list)] = SampleIds()
    gained_ids: Annotated[InstanceOf[SampleIds], PlainSerializer(list)] = SampleIds()

    @property
    def is_same_record(self) -> bool:
        """Whether both tables have the same record of the cell, so that nothing was measured anew."""
        return self.old.key == self.new.key != ""

    @property
    def is_stopped(self) -> bool:
        """Whether a decision has stopped the cell on one of the sides: `gate` decides on it, sample after sample."""
        return not self.is_same_record and (self.old.is_stopped or self.new.is_stopped)


class OverallDifference(PairedDifference):
    """Difference of a model over all its cells: the mean of the cells' differences, clustered by sample."""

    unit: Literal["checkpoint", "architecture"]
    """``checkpoint``: the one trained model of a seed. ``architecture``: models of one recipe with any seed."""
    task: str
    suite: str
    scale: str
    variant: str
    size: str
    recipe: str
    seeds: tuple[int, ...]
    cells: int
    """Number of compared cells, per seed."""
    left_out: int = 0
    """Number of cells in both tables that could not be compared."""
    samples: int = 0
    """Number of source samples, which are the clusters."""

    def covers(self, row: ScoreRow) -> bool:
        """Whether a row is of this model, with one of its seeds."""
        names = ("task", "suite", "scale", "variant", "size", "recipe")
        return row.seed in self.seeds and all(getattr(row, name) == getattr(self, name) for name in names)


class Comparison(Spec):
    """Cells in the order of the new table, overall differences of the models, and cells of one table only."""

    old: str = ""
    """Name of the earlier table, as the user gave it."""
    new: str = ""
    """Name of the later table, as the user gave it."""
    margin: float
    """Equivalence margin: a share for accuracy, relative for perplexity (0.01 is a factor of 1.01)."""
    alpha: float
    """Error rate of each family of cells, of each overall difference, and of each one-sided equivalence test."""
    correction: Correction = "holm"
    allow: tuple[str, ...] = ()
    """Fields that were allowed to differ."""
    claims: tuple[OverallDifference, ...]
    """Overall difference of each model, architectures before their checkpoints."""
    pairs: tuple[CellDifference, ...]
    """Difference of each cell that is in both tables."""
    added: tuple[ScoreRow, ...]
    removed: tuple[ScoreRow, ...]
    notes: tuple[str, ...] = ()
    """What is unusual about the two tables, one line each."""
    sample_names: tuple[str, ...] = ()
    """Names of samples by id, if the tables are logs of other tools; else empty, and ids are rows of the split."""

    def sample_name(self, sample: int) -> str:
        """Name of a sample of ``lost_ids`` or ``gained_ids``."""
        return self.sample_names[sample] if self.sample_names else str(sample)

    @property
    def is_unmeasured(self) -> bool:
        """Whether the tables have common cells, and the same record of each, so that nothing was measured anew."""
        return bool(self.pairs) and all(pair.is_same_record and not pair.differing for pair in self.pairs)

    @property
    def is_unchanged(self) -> bool:
        """Whether both tables have the same cells with the same records, and nothing else about them differs."""
        return self.is_unmeasured and not (self.added or self.removed)

    @property
    def exit_code(self) -> ExitCode:
        """NOT_COMPARABLE if no sample of any cell could be compared, else OK for all verdicts."""
        compared = any(pair.n is not None and pair.n > pair.unjudged for pair in self.pairs)
        return ExitCode.OK if compared else ExitCode.NOT_COMPARABLE

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per cell that is in both tables."""
        left_out = ("old", "new", "differing", "allowed", "changes")
        return to_frame(
            {**names(pair.new), **columns(pair, left_out), **change_columns(pair.changes)} for pair in self.pairs
        )


def change_columns(changes: Sequence[ScoreChange]) -> dict[str, float | None]:
    """Columns with the changes of scores: ``ece_change``, ``ece_change_low``, ``ece_change_high`` and so on; None for a
    score without a change."""
    found = {change.score: change for change in changes}
    table: dict[str, float | None] = {}
    for score in SCORES:
        change = found.get(score)
        values = (None, None, None) if change is None else (change.difference, change.low, change.high)
        table |= zip((f"{score}_change", f"{score}_change_low", f"{score}_change_high"), values, strict=True)
    return {**table, "miou_p": found["miou"].p if "miou" in found else None}
