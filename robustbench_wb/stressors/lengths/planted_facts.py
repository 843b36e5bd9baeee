"""A planted fact in rows of any length, at a place of choice, among rivals."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import TextShape
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.lengths.longer import OtherLength
from robustbench_wb.stressors.stressor import SampleBatch
from robustbench_wb.tasks.planted import HEAD, VOCABULARY, Planting, plant


class PlantedFacts(OtherLength):
    """Rows of exactly ``length`` tokens for the tasks ``planted-*``: the answer is the label of a sample, the
    rest is drawn by its id. Rows of different lengths share their beginnings, rows with different rivals all else."""

    name: ClassVar[str] = "planted-facts"

    position: Exact | None = Field(default=None, ge=0, le=1)
    """Where the fact lies: 0 right behind the query, 1 at the end; None: anywhere, another place for every sample."""
    distractors: int = Field(default=0, ge=0)
    """Facts of other keys."""

    def told(self) -> Mapping[str, object]:
        """Also where the fact lies, and among how many."""
        place = "any" if self.position is None else self.position
        return {"position": place, "distractors": self.distractors, **super().told()}

    def again(self, job: SampleBatch) -> NDArray[np.int32]:
        """New rows.

        Raises:
            MeasurementError: the task has no planted facts, or the rows no place for so many.
        """
        shape, slots = job.shape, self.length - HEAD
        if not isinstance(shape, TextShape) or shape.vocabulary != VOCABULARY:
            raise MeasurementError(f"{self.signature}: the task has no planted facts")
        if slots < 1 + self.distractors:
            raise MeasurementError(
                f"{self.signature}: {self.length} tokens have no place for {1 + self.distractors} facts"
            )
        ids, labels = job.ids.cpu(), job.labels.cpu()
        whole = torch.full_like(ids, self.length)
        planting = Planting(whole, HEAD + self._places(job, slots), torch.full_like(ids, self.distractors))
        return plant(ids, labels, planting, self.length, job.seed, self.name).numpy().astype(np.int32)

    def _places(self, job: SampleBatch, slots: int) -> torch.Tensor:
        ids = job.ids.cpu()
        if self.position is not None:
            return torch.full_like(ids, round(self.position * (slots - 1)))
        return rng.below(slots, rng.words(ids, 1, job.seed, f"{self.name} position")[:, 0])
