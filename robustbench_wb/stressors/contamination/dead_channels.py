"""Dead sensor channels."""

from typing import ClassVar

from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.stressors.contamination.image_contamination import ImageContamination


class DeadChannels(ImageContamination):
    """A chosen channel is zero everywhere. Units: channels. Rejects images of one channel; ``dead-rows`` suits them."""

    name: ClassVar[str] = "dead-channels"

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Set the chosen channels to zero.

        Raises:
            MeasurementError: the images have one channel.
        """
        if images.shape[1] == 1:
            raise MeasurementError("dead-channels would blacken images of one channel; use dead-rows")
        return images.masked_fill(self.chosen(ids, images.shape[1], seed)[:, :, None, None], 0)

    def count(self, images: Tensor, perturbed: Tensor) -> tuple[Tensor, Tensor]:
        """Number of channels that differ, and number of channels, int64 (B,) each."""
        changed = (images != perturbed).flatten(2).any(2).sum(1)
        return changed, changed.new_full(changed.shape, images.shape[1])
