"""Training images that stay in a file on disk: each step reads the images of its batch."""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.tasks.pictures.mapped_rows import copy_rows
from robustbench_wb.tasks.pictures.picture_split import PictureSplit
from robustbench_wb.tasks.task import Split
from robustbench_wb.training.loop import TrainingData
from robustbench_wb.training.recipe import Recipe


class MappedImages:
    """Images mapped from a file, which act as a tensor of which rows are taken by their numbers."""

    def __init__(self, images: NDArray[np.uint8], device: torch.device) -> None:
        self.images, self.device = images, device

    @property
    def ndim(self) -> int:
        """Number of dimensions, which tells images from texts."""
        return self.images.ndim

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Images of some rows, uint8 (B, C, H, W), on the device."""
        return torch.from_numpy(copy_rows(self.images, rows.cpu().numpy())).to(self.device)


def training_data(split: Split, recipe: Recipe, *, seed: int, device: torch.device) -> TrainingData:
    """The recipe's share of a training split. Pictures of a folder stay on disk; others than the share are not decoded.

    Batches are equal to those of a split in memory, bit for bit.
    """
    if not isinstance(split, PictureSplit):
        inputs, labels = (torch.tensor(array).to(device) for array in (split.inputs, split.labels))
        return TrainingData(inputs, labels.long()).select(recipe, seed)
    share = TrainingData(torch.arange(len(split)), torch.tensor(split.labels)).select(recipe, seed)
    images = MappedImages(split.take(share.inputs.numpy()), device)
    return TrainingData(cast("Tensor", images), share.labels.to(device))
