"""Planted facts in rows of any length, at a chosen position, among distractors."""

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
from robustbench_wb.stressors.lengths.length_stressor import LengthStressor
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.planted_facts_task import HEAD, VOCABULARY, FactLayout, plant_facts


class PlantedFactsLength(LengthStressor):
    """Rows of exactly ``length`` tokens for the tasks ``planted-*``.

    The answer is the label of a sample, the rest is drawn by its id. Rows of different lengths share their beginnings;
    rows with different numbers of distractors share everything else.
    """

    name: ClassVar[str] = "planted-facts"

    position: Exact | None = Field(default=None, ge=0, le=1)
    """Position of the fact: 0 directly after the query, 1 at the end; None: a random position for every sample."""
    distractors: int = Field(default=0, ge=0)
    """Number of facts with other keys."""

    def label_parameters(self) -> Mapping[str, object]:
        """Parameters that a table must state: position and number of distractors as well."""
        place = "any" if self.position is None else self.position
        return {"position": place, "distractors": self.distractors, **super().label_parameters()}

    def resized_tokens(self, batch: SampleBatch) -> NDArray[np.int32]:
        """Make new rows as token ids, int32 (N, length).

        Raises:
            MeasurementError: the task has no planted facts, or the rows are too short for all facts.
        """
        shape, slots = batch.shape, self.length - HEAD
        if not isinstance(shape, TextShape) or shape.vocabulary != VOCABULARY:
            raise MeasurementError(f"{self.signature}: the task has no planted facts")
        if slots < 1 + self.distractors:
            raise MeasurementError(
                f"{self.signature}: {self.length} tokens have no room for {1 + self.distractors} facts"
            )
        ids, labels = batch.ids.cpu(), batch.labels.cpu()
        whole = torch.full_like(ids, self.length)
        planting = FactLayout(whole, HEAD + self._places(batch, slots), torch.full_like(ids, self.distractors))
        rows = plant_facts(ids, labels, planting, width=self.length, seed=batch.seed, stream=self.name)
        return rows.numpy().astype(np.int32)

    def _places(self, batch: SampleBatch, slots: int) -> torch.Tensor:
        ids = batch.ids.cpu()
        if self.position is not None:
            return torch.full_like(ids, round(self.position * (slots - 1)))
        return rng.bounded_integers(slots, rng.words(ids, 1, seed=batch.seed, label=f"{self.name} position")[:, 0])
