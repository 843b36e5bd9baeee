"""Headline numbers over time. Data only."""

from typing import TYPE_CHECKING

from robustbench_wb.analysis.compare.comparison import PairedDifference
from robustbench_wb.analysis.headline.headline import HeadlineNumber
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.records.names import Metric
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    import pandas as pd


class TableVersion(Spec):
    """Version of a score table."""

    number: int
    time: str
    """Time of the commit of the version (UTC, ISO 8601)."""
    commit: str = ""
    """Git commit of the package during the run; empty if unknown."""
    dirty: bool = False
    """Whether files differed from the commit."""


class HistoryPoint(Spec):
    """Headline number of a model at a version that evaluated it anew."""

    version: TableVersion
    number: HeadlineNumber
    change: PairedDifference | None = None
    """Paired difference from the point before; None for the first point."""
    change_p: float | None = None
    """p-value of the change point that this point begins; None if it begins none."""


class HeadlineSeries(Spec):
    """Points of one headline column, oldest first."""

    column: str
    main: bool
    """Whether models are ranked by this column."""
    points: tuple[HistoryPoint, ...]


class ModelHistory(Spec):
    """Headline numbers of one model under one suite."""

    task: str
    scale: str
    suite: str
    metric: Metric
    variant: str
    size: str
    recipe: str
    seed: int
    series: tuple[HeadlineSeries, ...] = ()
    """One per headline column of the first screen, in its order."""

    @property
    def main(self) -> HeadlineSeries:
        """Series of the column by which models are ranked."""
        return next((one for one in self.series if one.main), self.series[-1])


class History(Spec):
    """Headline numbers of all models over the versions of a table."""

    location: str
    """Location of the results."""
    versions: tuple[TableVersion, ...]
    """All versions, oldest first."""
    margin: float
    """Equivalence margin of the verdicts, a share, or relative for a perplexity."""
    alpha: float
    """Level of each verdict and of the test of change points."""
    models: tuple[ModelHistory, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per model, headline column and version."""
        return to_frame(
            {
                **columns(model, ("series",)),
                "column": series.column,
                "main": series.main,
                "version": point.version.number,
                **columns(point.version, ("number",)),
                **columns(point.number, ("note",)),
                "change_p": point.change_p,
                "verdict": point.change.verdict if point.change is not None else "",
                "reason": point.change.reason if point.change is not None else "",
                "difference": point.change.difference if point.change is not None else None,
                "difference_low": point.change.low if point.change is not None else None,
                "difference_high": point.change.high if point.change is not None else None,
                "p": point.change.p if point.change is not None else None,
            }
            for model in self.models
            for series in model.series
            for point in series.points
        )
