"""Motion blur: the camera moves along a line."""

import math
from typing import ClassVar, cast

from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.line_blur import motion_blur


class MotionBlur(Corruption):
    """Half a Gaussian along a line at an angle between -45 and 45 degrees (Hendrycks & Dietterich 2019)."""

    name: ClassVar[str] = "motion-blur"
    fidelity = "E"
    constants: ClassVar = {  # radius, standard deviation, in pixels
        32: ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        64: ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        224: ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Blur the images; one random angle for each image."""
        radius, sigma = cast("tuple[int, float]", self.severity_constants(images.shape))
        angles = (rng.uniform(ids, (), seed=seed, label=self.name).double() - 0.5) * (math.pi / 2)
        return self.to_levels(motion_blur(images.float(), angles, radius=radius, sigma=sigma))
