"""Write a corruption of your own: one class with its numbers as fields, used like any other stressor."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb import ImageShape, build, evaluate
from robustbench_wb.stressors.model_free import ModelFreeImageStressor
from robustbench_wb.tasks.digits import DIGITS


class Stripes(ModelFreeImageStressor):
    """Every ``period``-th row of the image is dark, from a row that depends on the sample."""

    name: ClassVar[str] = "stripes"
    axis: ClassVar[str | None] = "width"

    width: int = Field(ge=1)
    """Dark rows in each period: the strength."""
    period: int = Field(default=4, ge=1)

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Images of 8 bits, uint8 (B, C, H, W), to the same. A row depends on its image, its id and the seed only."""
        rows = torch.arange(images.shape[2], device=images.device)
        dark = (rows[None, :] + ids[:, None] + seed) % self.period < self.width
        return images.masked_fill(dark[:, None, :, None], 0)


digits = DIGITS.load(None)
shape = ImageShape(channels=1, height=8, width=8, classes=10, patch=2)
model = build("vit", shape=shape)  # untrained: train it, or bring your own

result = evaluate(
    model,
    digits.test.inputs[:100],
    digits.test.labels[:100],
    stressors=[Stripes(width=1), Stripes(width=2)],
    keep_images=True,
)
print(result)
print(result["stripes@1"].signature)
kept = result["stripes@2"].images
if kept is not None:
    print((kept[0, 0] * 9).round().astype(int))  # the first image, half of its rows dark
