"""Headline numbers over seeds, one line per architecture. Data only."""

from typing import TYPE_CHECKING

from pydantic import ConfigDict

from robustbench_wb.analysis.headline.headline import ColumnPanel, OptionalGrade
from robustbench_wb.frames import columns as fields_of
from robustbench_wb.frames import to_frame
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    import pandas as pd


class SeedMean(Spec):
    """Mean of one headline number over the seeds of an architecture."""

    model_config = ConfigDict(allow_inf_nan=False)

    mean: float | None
    """Mean accuracy in [0, 1], or geometric mean perplexity; None if a seed has no number."""
    deviation: float | None = None
    """Sample standard deviation over the seeds (divisor S - 1); None with one seed."""
    low: float | None = None
    """Low end of the 95 % interval over seeds and samples, see ``robustbench_wb.stats.crossed_effects``. None with one
    seed, or if the outcomes of samples are unknown, see ``note``."""
    high: float | None = None
    """High end of the interval; None like ``low``."""
    grade: OptionalGrade = ""
    """Lowest credibility grade of the seeds."""
    note: str = ""
    """Reason for a missing interval, or what limits the number of a seed."""
    consistent: float | None = None
    """Share of the samples that are robust under every seed: seeds may lose different samples, which no mean shows.

    None with one seed, for means over evaluations, for perplexity, or if the outcomes of samples are unknown."""
    consistent_low: float | None = None
    """Low end of the 95 % Wilson interval of ``consistent`` over samples, for these seeds."""
    consistent_high: float | None = None
    """High end of the interval."""
    bound: bool = False
    """Whether the mean is an upper bound: records of a seed are missing, and its number is the lowest accuracy of the
    combined attacks."""


class Architecture(Spec):
    """Numbers of one architecture, which has one size and one recipe."""

    variant: str
    size: str
    recipe: str
    seeds: tuple[int, ...]
    numbers: tuple[SeedMean, ...]
    """One per column of the panel."""
    group: str = ""
    """Letters: architectures that share a letter do not differ significantly in the main column, see
    ``robustbench_wb.analysis.over_seeds.seed_letters``. Empty if it could not be tested."""


class SeedPanel(ColumnPanel):
    """Architectures that were evaluated on the same samples and evaluations."""

    tests: int
    """Number of tested pairs of architectures."""
    lines: tuple[Architecture, ...]
    """Architectures, best first; a number graded F counts as an accuracy of 0."""


class SeedMeans(Spec):
    """Headline numbers over seeds of all panels of a table."""

    panels: tuple[SeedPanel, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per architecture and headline number, best architecture first."""
        return to_frame(seed_mean_lines(self))


def seed_mean_lines(means: SeedMeans) -> list[dict[str, object]]:
    """One line per architecture and headline number, as a flat table has them."""
    return [
        {
            **fields_of(panel, ("columns", "lines", "main", "tests")),
            **fields_of(line, ("numbers",)),
            "column": column.name,
            **fields_of(number),
        }
        for panel in means.panels
        for line in panel.lines
        for column, number in zip(panel.columns, line.numbers, strict=True)
    ]
