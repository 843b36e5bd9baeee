"""Frost: ice crystals blended into the image."""

import hashlib
from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.colour_corruption import ColourCorruption
from robustbench_wb.stressors.corruptions.corruption import Calibration, calibration_for
from robustbench_wb.stressors.corruptions.frost_textures import textures, textures_digest

SCALE: dict[Calibration, float] = {32: 0.2, 64: 0.3, 224: 1.0}
"""Scale of the textures for each calibration."""


class Frost(ColourCorruption):
    """a x + b (random window of a random texture) (Hendrycks & Dietterich 2019).

    The textures are generated; ``RBWB_FROST_DIR`` can name a folder with the photographs of the reference instead. Mode
    ``reference`` uses the first five textures only, and never the last row or column of windows.
    """

    name: ClassVar[str] = "frost"
    fidelity = "A"
    constants: ClassVar = {
        32: ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        64: ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        224: ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    }

    def code(self) -> str:
        """Digest of the source and, if set, of the bytes of the user's own textures."""
        own = textures_digest()
        return hashlib.sha256(f"{super().code()} {own}".encode()).hexdigest() if own else super().code()

    def perturb_colours(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add frost; three draws per image choose the texture, the row and the column."""
        height, width = images.shape[-2:]
        image_weight, ice_weight = cast("tuple[float, float]", self.severity_constants(images.shape))
        scale = SCALE[self.calibration or calibration_for(min(height, width))]
        ice = textures(scale, max(height, width) + 1)
        missed = int(self.mode == "reference")
        ice = ice[:5] if missed else ice
        which, row, column = rng.uniform(ids, (3,), seed=seed, label=self.name).unbind(1)
        found = torch.empty_like(images, dtype=torch.float32)
        for number, texture in enumerate(ice):
            rows = torch.nonzero((which * len(ice)).long() == number)[:, 0]
            windows = texture.to(images.device).unfold(1, height, 1).unfold(2, width, 1)
            down = (row[rows] * (windows.shape[1] - missed)).long()
            along = (column[rows] * (windows.shape[2] - missed)).long()
            found[rows] = windows[:, down, along].transpose(0, 1).float()
        return self.to_levels(image_weight * images + ice_weight * found)
