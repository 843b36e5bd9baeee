"""Images with another image in them."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.blind import Blind, Made
from robustbench_wb.stressors.share import rounded
from robustbench_wb.stressors.stressor import Modality, SampleBatch


class ForeignSamples(Blind):
    """A chosen sample becomes the mean of itself and another image of the test split; its label stays.

    The other image is drawn from the whole split, also when only some of it is evaluated: it depends on the sample's id
    and the seed alone. So does the choice, which takes rate x samples of the split, rounded up or down by chance; the
    share among the evaluated ones differs a little. Units: samples.
    """

    name: ClassVar[str] = "foreign-samples"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "image"

    rate: Exact = Field(ge=0, le=1)
    """Share of the samples."""

    def make(self, job: SampleBatch) -> Made:
        """All chosen samples of the job at once.

        Raises:
            MeasurementError: there is no other image.
        """
        split = job.split
        if split is None or len(split) < 2:
            raise MeasurementError(f"{self.name} needs a test split of at least two images")
        ids, total = job.ids.cpu(), len(split)
        draw = int(rng.words(torch.zeros(1, dtype=torch.int64), 1, job.seed, f"{self.name} count")[0, 0])
        first = rng.permutation(total, job.seed, self.name)[: rounded(self.rate, total, draw)]
        chosen = torch.isin(ids, first).numpy()
        steps = 1 + rng.below(total - 1, rng.words(ids, 1, job.seed, f"{self.name} partners")[:, 0])
        partners = ((ids + steps) % total).numpy()[chosen]
        images = (job.inputs * 255).round().to(torch.uint8).cpu().numpy()
        sums = images[chosen].astype(np.uint16) + split.inputs[partners]
        images[chosen] = (sums + 1) // 2
        job.advance(len(ids))
        return Made(images, None, chosen.astype(np.int64), np.ones(len(ids), np.int64))
