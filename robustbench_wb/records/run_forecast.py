"""Forecast of an experiment: work, seconds and memory of its parts. Data only."""

from typing import TYPE_CHECKING

from robustbench_wb.frames import columns, to_frame
from robustbench_wb.records.names import Metric
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    import pandas as pd


class PartForecast(Spec):
    """Work of one model on one task under one suite, over all its seeds."""

    suite: str
    task: str
    variant: str
    size: str
    recipe: str
    seeds: tuple[int, ...]
    samples: int
    """Samples of each cell."""
    cells: int
    """Cells of all seeds."""
    stored: int
    """Cells whose record is stored and would be reused. Cells of a model that is not trained yet count as missing."""
    trainings: int
    """Models that are not in the cache. A model that another part trains is not counted again."""
    training_seconds: float | None
    """Seconds of the trainings; None if the model cannot be timed."""
    evaluation_seconds: float | None
    """Seconds of the missing cells if no sample is broken; None if the model cannot be timed."""
    memory: int | None
    """Peak bytes of weights and activations, see ``RunForecast.memory``; None if the model cannot be run."""
    assumed: tuple[str, ...] = ()
    """Attacks that do not report their passes; 100 forward and backward passes are assumed."""
    reason: str = ""
    """Reason why the model cannot be timed."""
    metric: Metric = "accuracy"
    detectable: float | None = None
    """Minimum detectable effect: smallest drop of a cell, a share, that a gate with the margins of the project finds
    with 80 % power; None if no drop is found, and for perplexities."""

    @property
    def seconds(self) -> float | None:
        """Seconds of trainings and cells; None if the model cannot be timed."""
        if self.training_seconds is None or self.evaluation_seconds is None:
            return None
        return self.training_seconds + self.evaluation_seconds


class RunForecast(Spec):
    """Forecast of an experiment."""

    parts: tuple[PartForecast, ...]
    workers: int
    """Processes that evaluate in parallel; all seconds are those of one process."""
    device: str
    discordance: str = ""
    """Discordance of which ``PartForecast.detectable`` is made, in words."""

    @property
    def cells(self) -> int:
        """Cells of all parts."""
        return sum(part.cells for part in self.parts)

    @property
    def stored(self) -> int:
        """Cells of all parts whose record is stored and would be reused."""
        return sum(part.stored for part in self.parts)

    @property
    def trainings(self) -> int:
        """Models that are not in the cache."""
        return sum(part.trainings for part in self.parts)

    @property
    def seconds(self) -> float:
        """Seconds of all parts that could be timed, in one process."""
        return sum(part.seconds or 0.0 for part in self.parts)

    @property
    def memory(self) -> int:
        """Peak bytes of weights and activations in one process: the largest of all parts, because they follow each
        other. Data, PyTorch and the interpreter come on top."""
        return max((part.memory or 0 for part in self.parts), default=0)

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per part."""
        return to_frame({**columns(part), "seconds": part.seconds} for part in self.parts)
