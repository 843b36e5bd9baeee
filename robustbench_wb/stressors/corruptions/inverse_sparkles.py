"""Inverse sparkles: the image is seen through one sparkle only."""

from typing import ClassVar, cast

from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks, numbers_of_images, pixel_grid
from robustbench_wb.stressors.corruptions.sparkle_rays import MOST_RAYS, ray_counts, ray_lengths, sparkle_light


class InverseSparkles(Corruption):
    """255 - light (255 - x), with the light of one sparkle near the centre (Mintun, Kirillov & Xie 2021).

    The radius is a quarter of the shorter side; light falls with the distance to the power of 0.26 c.
    """

    name: ClassVar[str] = "inverse-sparkles"
    fidelity = "E"
    constants: ClassVar = {
        32: (1.0, 1.5, 2.5, 4.5, 5.0),
        64: (1.0, 1.5, 2.5, 4.5, 5.0),
        224: (1.0, 2.0, 4.0, 9.0, 10.0),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Fade to white; three draws per image (row, column, number of rays), at step 1 the lengths of rays."""
        exponent = 0.13 * cast("float", self.severity_constants(images.shape))
        height, width = images.shape[-2:]
        rows, columns = pixel_grid(images)

        def fade(some: Tensor, numbers: Tensor) -> Tensor:
            row, column, count = numbers_of_images(rng.uniform(numbers, (3,), seed=seed, label=self.name))
            normal = rng.normal16(numbers, (MOST_RAYS,), seed=seed, label=self.name, step=1)
            light = sparkle_light(
                columns - (0.25 + 0.5 * column) * width,
                rows - (0.25 + 0.5 * row) * height,
                rays=ray_counts(count),
                lengths=ray_lengths(normal, 0.25 * min(height, width)),
                exponent=exponent,
            )
            return self.to_levels(255 - light[:, None] * (255 - some.double()))

        return in_blocks(images, ids, fade)
