"""Channels of a sensor that give nothing."""

from typing import ClassVar

from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.stressors.contamination.images import ImageContamination


class DeadChannels(ImageContamination):
    """A chosen channel is zero everywhere. Units: channels. Refused for images of one channel: see ``dead-rows``."""

    name: ClassVar[str] = "dead-channels"

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Which channels is the only draw."""
        if images.shape[1] == 1:
            raise MeasurementError("dead-channels would blacken images of one channel; dead-rows is meant for them")
        return images.masked_fill(self.chosen(ids, images.shape[1], seed)[:, :, None, None], 0)

    def count(self, images: Tensor, perturbed: Tensor) -> tuple[Tensor, Tensor]:
        """Channels that differ, and channels."""
        changed = (images != perturbed).flatten(2).any(2).sum(1)
        return changed, changed.new_full(changed.shape, images.shape[1])
