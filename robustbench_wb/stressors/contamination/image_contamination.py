"""Base of image contaminations: rate, choice of units, and random content."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.model_free import ModelFreeImageStressor
from robustbench_wb.stressors.unit_choice import lowest_keys, stochastic_round_many


class ImageContamination(ModelFreeImageStressor):
    """Base of contaminations of a share of the units of every image; counts pixels whose value changes."""

    axis: ClassVar[str | None] = "rate"

    rate: Exact = Field(ge=0, le=1)
    """Share of the units of an image."""

    def chosen(self, ids: Tensor, units: int, seed: int) -> Tensor:
        """Mask of the chosen units, bool (B, units): rate x units of them, stochastically rounded."""
        draws = rng.words(ids, 1 + units, seed=seed, label=self.name)
        counts = stochastic_round_many(self.rate, ids.new_full((len(ids),), units), draws[:, 0])
        return lowest_keys(draws[:, 1:], counts)

    def count(self, images: Tensor, perturbed: Tensor) -> tuple[Tensor, Tensor]:
        """Number of pixels that differ in any channel, and number of pixels, int64 (B,) each."""
        changed = (images != perturbed).any(1).flatten(1).sum(1)
        return changed, changed.new_full(changed.shape, images.shape[-2] * images.shape[-1])


def other_colours(images: Tensor, ids: Tensor, *, seed: int, label: str) -> Tensor:
    """Random values that differ from the given ones, uint8 of the same shape: uniform over the 255 others."""
    _, channels, height, width = images.shape
    draws = rng.words(ids, channels * height * width, seed=seed, label=label).view(images.shape)
    return (images + (1 + rng.bounded_integers(255, draws))).remainder(256).to(images.dtype)
