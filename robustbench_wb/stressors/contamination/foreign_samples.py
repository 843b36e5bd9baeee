"""Test images mixed with another image."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.progress import Advance
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.stressors.unit_choice import stochastic_round


class ForeignSamples(ModelFreeStressor):
    """A chosen sample becomes the mean of itself and another image of the test split; its label stays.

    The other image is drawn from the whole split, even if only a part is evaluated: it depends on the sample id and the
    seed only. The choice takes rate x samples of the whole split, stochastically rounded, so the share among the
    evaluated samples differs slightly. Units: samples.
    """

    name: ClassVar[str] = "foreign-samples"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "image"

    rate: Exact = Field(ge=0, le=1)
    """Share of the samples of the test split."""

    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Mix all chosen samples of the batch at once.

        Raises:
            MeasurementError: the test split has fewer than two images.
        """
        split = batch.split
        if split is None or len(split) < 2:
            raise MeasurementError(f"{self.name} needs a test split of at least two images")
        ids, total = batch.ids.cpu(), len(split)
        whole = torch.zeros(1, dtype=torch.int64)
        draw = int(rng.words(whole, 1, seed=batch.seed, label=f"{self.name} count")[0, 0])
        first = rng.permutation(total, batch.seed, self.name)[: stochastic_round(self.rate, total, draw)]
        chosen = torch.isin(ids, first).numpy()
        steps = 1 + rng.bounded_integers(
            total - 1, rng.words(ids, 1, seed=batch.seed, label=f"{self.name} partners")[:, 0]
        )
        partners = ((ids + steps) % total).numpy()[chosen]
        images = (batch.inputs * 255).round().to(torch.uint8).cpu().numpy()
        sums = images[chosen].astype(np.uint16) + split.inputs[partners]
        images[chosen] = (sums + 1) // 2
        advance(len(ids))
        return PerturbedData(inputs=images, changed=chosen.astype(np.int64), units=np.ones(len(ids), np.int64))
