"""Two photographs cut into tiles, used as test images."""

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor


@cache
def tiles(side: int, count: int) -> Tensor:
    """Tiles of both photographs, uint8 (count, 3, side, side)."""
    found = []
    for photograph in load_sample_images().images:
        picture = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)
        found.append(picture.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4).flatten(0, 1))
    whole = torch.cat(found)
    return whole[torch.linspace(0, len(whole) - 1, count).long()].contiguous()
