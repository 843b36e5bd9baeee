"""Dead sensor rows."""

from typing import ClassVar

from torch import Tensor

from robustbench_wb.stressors.contamination.image_contamination import ImageContamination


class DeadRows(ImageContamination):
    """A chosen row of pixels is black. Units: rows; a row that was black before is chosen, but not counted as
    changed."""

    name: ClassVar[str] = "dead-rows"

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Set the chosen rows to black."""
        return images.masked_fill(self.chosen(ids, images.shape[2], seed)[:, None, :, None], 0)

    def count(self, images: Tensor, perturbed: Tensor) -> tuple[Tensor, Tensor]:
        """Number of rows that differ, and number of rows, int64 (B,) each."""
        changed = (images != perturbed).any(3).any(1).sum(1)
        return changed, changed.new_full(changed.shape, images.shape[2])
