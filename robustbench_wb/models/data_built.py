"""Models whose layers are computed from labelled training data, one after the other, before any gradient."""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.backbone import Transformer

_BATCH = 256


class DataBuilt(ABC):
    """Part of a model that computes its weights from features and labels."""

    @abstractmethod
    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Set the weights from the features that enter the part, (M, N, d), and their labels, int64 (M,)."""


class Rows(Protocol):
    """Images of which rows are taken by their numbers: a tensor, or a file that acts as one."""

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Images of some rows, uint8 (B, C, H, W)."""
        ...


def is_data_built(model: nn.Module) -> bool:
    """Whether a part of the model computes its weights from data."""
    return any(isinstance(part, DataBuilt) for part in model.modules())


@torch.no_grad()
def build_from_data(model: nn.Module, images: Rows, labels: Tensor) -> None:
    """Compute all layers of a model in place, first to last; each sees the features that the layers before it make.

    All features of a layer are held at once: M N d numbers, and as many of the embedding.

    Args:
        model: the model, on the device of the labels.
        images: the training images, uint8, M rows.
        labels: their labels, int64 (M,).

    Raises:
        TypeError: the model is not one of this package's backbone, or no part of it is built from data.
        UsageError: there are no labels, a negative one, or not as many as images.
    """
    if not isinstance(model, Transformer):
        raise TypeError(f"{type(model).__name__} has no blocks to compute one after the other")
    if not is_data_built(model):
        raise TypeError("no part of the model computes its weights from data")
    if isinstance(images, Tensor) and len(images) != len(labels):
        raise UsageError(f"labels: there are {len(labels)} for {len(images)} images", "labels")
    if len(labels) == 0 or int(labels.min()) < 0:
        raise UsageError("labels: one class number from 0 for each image, and at least one", "labels")
    numbers = torch.split(torch.arange(len(labels), device=labels.device), _BATCH)
    embedded = [model.embed(images[rows].float() / 255) for rows in numbers]
    first = x = torch.cat([tokens for tokens, _ in embedded])
    _, context = embedded[0]
    exact = torch.device("cpu") if x.device.type == "mps" else x.device  # MPS has no double precision
    for block in model.backbone.blocks:
        for part in block.modules():
            if isinstance(part, DataBuilt):
                part.fit(x.to(exact), labels.to(exact))
        pairs = zip(torch.split(x, _BATCH), torch.split(first, _BATCH), strict=True)
        x = torch.cat([block(some, embedding, context) for some, embedding in pairs])
    if isinstance(model.head, DataBuilt):
        model.head.fit(x.to(exact), labels.to(exact))
