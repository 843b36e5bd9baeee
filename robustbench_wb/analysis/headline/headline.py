"""Headline of a table: the numbers that a paper reports, one row per model. Data only."""

from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict

from robustbench_wb.frames import columns as fields_of
from robustbench_wb.frames import to_frame
from robustbench_wb.records.names import Metric
from robustbench_wb.records.score_row import PanelKey
from robustbench_wb.spec import Spec
from robustbench_wb.stats.intervals import Interval
from robustbench_wb.stressors.protocol import ProtocolName

if TYPE_CHECKING:
    import pandas as pd

OptionalGrade = Literal["", "A", "B", "C", "F"]
ColumnRule = Literal["clean", "joint", "mean"]
"""``clean``: unperturbed inputs. ``joint``: correct under every attack. ``mean``: mean over evaluations."""


class HeadlineColumn(Spec):
    """One headline number of every model of a panel, and the evaluations that it combines."""

    name: str
    """Name in tables, like ``clean``, ``Linf 16/255``, ``mean`` or ``severity 5``."""
    rule: ColumnRule
    cells: tuple[str, ...]
    """Combined evaluations, like ``pgd-linf@8/255``."""
    controls: tuple[str, ...] = ()
    """Controls among ``cells``: random noise, or one gradient step, beside a stronger attack. A sample that a
    control breaks is broken, but a control has no part in the grade."""
    first: bool = True
    """Whether the first screen shows the column."""
    constraint: str = ""
    """Constraint on the meaning of texts, see ``ScoreRow``; empty unless all evaluations are word attacks."""


class HeadlineNumber(Spec):
    """Value of a column for one model."""

    model_config = ConfigDict(allow_inf_nan=False)

    value: float | None
    """Accuracy in [0, 1], or perplexity; None if an attack of a joint number, or every evaluation of a mean, failed.

    Models are ranked as if it were 0 then. A failed evaluation beside others counts as an accuracy of 0."""
    low: float | None = None
    """Low end of the 95 % interval: Wilson's for one outcome per sample, see
    ``robustbench_wb.analysis.sample_scores.sample_score_interval`` for a mean. None if a record is missing."""
    high: float | None = None
    """High end of the 95 % interval; None next to a low end is an open end."""
    robust: int | None = None
    """Samples that are correct under every attack, or in the one evaluation of the column; None for a mean."""
    grade: OptionalGrade = ""
    """Credibility, see docs/credibility.md; empty for numbers without attacks."""
    failed: int = 0
    """Number of the combined evaluations that failed; no sample is robust under a failed attack."""
    unjudged: int = 0
    """Samples that errored or were not run in an evaluation and are not known to be wrong; they are not robust."""
    miou: float | None = None
    """Mean IoU in segmentation: of a ``clean`` column, the mean over the evaluations of a ``mean``, or of a ``joint``
    one with the attack that leaves the smallest IoU of each image. None if an image or record is missing."""
    miou_low: float | None = None
    """Low end of the 95 % bootstrap interval of ``miou`` over images."""
    miou_high: float | None = None
    """High end of the interval of ``miou``."""
    ece: float | None = None
    """Calibration error, mean over the evaluations of the column; None where a row has none."""
    brier: float | None = None
    """Brier score, mean over the evaluations of the column; None where a row has none."""
    auroc: float | None = None
    """Area under the ROC curve of out-of-distribution detection, mean over the evaluations of the column; None where a
    row has none."""
    text_similarity: float | None = None
    """Cosine similarity of the texts that attacks broke, mean over the attacks of a ``joint`` column; None without a
    sentence encoder."""
    perplexity_ratio: float | None = None
    """Perplexity of the broken texts as a multiple of that of the unperturbed ones, mean over the attacks of a
    ``joint`` column; None without a language model."""
    control_gap: float | None = None
    """Accuracy under the random controls of a ``joint`` column of word attacks, minus that under its attacks: what the
    attacks find beyond chance with the same budget. None without both, and if a sample or record is missing."""
    control_gap_low: float | None = None
    """Low end of the 95 % interval of ``control_gap``: Tango's, of paired samples."""
    control_gap_high: float | None = None
    """High end of the interval of ``control_gap``."""
    note: str = ""
    """What limits the number, one line: the reason of a grade C or F, an evaluation that failed, or missing records,
    without which a ``joint`` number is an upper bound and has no interval."""


class HeadlineRow(Spec):
    """Numbers and rank of one model."""

    variant: str
    size: str
    recipe: str
    seed: int
    rank: int
    """Rank by the main column, from 1; models of equal numbers share the best of their ranks."""
    rank_low: int | None = None
    """Low end of the simultaneous 95 % rank interval; None without an interval of the number."""
    rank_high: int | None = None
    """High end of the rank interval; None like ``rank_low``."""
    group: str = ""
    """Letters: models that share a letter do not differ significantly. Empty without an interval of the number."""
    numbers: tuple[HeadlineNumber, ...]
    """One per column of the panel."""
    mce: float | None = None
    """Mean corruption error relative to AlexNet in percent, for ImageNet-C only."""

    @property
    def subject(self) -> tuple[str, ...]:
        """Evaluated model: variant, size, recipe and seed, as in ``ScoreRow.subject``."""
        return (self.variant, self.size, self.recipe, str(self.seed))


class ColumnPanel(Spec):
    """Key and columns of a panel of headline numbers."""

    task: str
    scale: str
    suite: str
    suite_version: int
    metric: Metric
    protocol: ProtocolName
    n: int
    """Number of requested samples."""
    columns: tuple[HeadlineColumn, ...]
    main: int
    """Index of the column by which lines are ranked."""

    @property
    def key(self) -> PanelKey:
        """Key of the panel, as in ``ScoreRow.panel``."""
        return PanelKey(**{name: getattr(self, name) for name in PanelKey._fields})

    @property
    def main_column(self) -> HeadlineColumn:
        """Column by which lines are ranked."""
        return self.columns[self.main]


class HeadlinePanel(ColumnPanel):
    """Headline numbers of the models that were evaluated on the same samples and evaluations."""

    tests: int
    """Number of tested pairs of models, which Holm's correction uses."""
    lead: Interval | None = None
    """95 % interval of the lead of the best model over the second, paired by sample: a difference of accuracies, or how
    far a perplexity lies below the other, as a share of the other. None if it is unknown."""
    evaluations: int
    """Number of evaluations of all models, failed ones included."""
    failed: int
    """Number of evaluations that failed or are incomplete."""
    doubtful: int
    """Number of evaluations by attacks other than controls that are graded F."""
    rows: tuple[HeadlineRow, ...]
    """Models, best first; equal numbers by name."""

    def main_number(self, row: HeadlineRow) -> HeadlineNumber:
        """Number by which a model is ranked."""
        return row.numbers[self.main]


class Headline(Spec):
    """Headline numbers of all panels of a table."""

    panels: tuple[HeadlinePanel, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per model and headline number, best model first.

        ``column`` names the number, and ``main`` marks the one by which models are ranked.
        """
        return to_frame(
            {
                **panel.key._asdict(),
                **fields_of(row, ("numbers",)),
                "column": column.name,
                "rule": column.rule,
                "main": column is panel.main_column,
                **fields_of(number),
            }
            for panel in self.panels
            for row in panel.rows
            for column, number in zip(panel.columns, row.numbers, strict=True)
        )
