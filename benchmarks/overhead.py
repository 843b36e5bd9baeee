"""Overhead of an attack beyond its passes through the model: calls of the model are recorded, and replayed alone."""

import cProfile
import pstats
from collections.abc import Sequence

import torch
from peers import Attack, PgdSetting
from torch import Tensor, nn


class QueryRecorder(nn.Module):
    """A model that records every batch of its forward passes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls: list[tuple[Tensor, bool]] = []
        """Images (B, C, H, W) of each forward pass, and whether they required a gradient."""

    def forward(self, images: Tensor) -> Tensor:
        """Compute the model's logits (B, classes)."""
        self.calls.append((images.detach(), images.requires_grad))
        logits: Tensor = self.model(images)
        return logits


def replay(model: nn.Module, calls: list[tuple[Tensor, bool]]) -> None:
    """Repeat the recorded passes of a model, with their input gradients."""
    for images, gradient in calls:
        with torch.set_grad_enabled(gradient):
            logits = model(images.requires_grad_(gradient))
            if gradient:
                torch.autograd.grad(logits, images, torch.ones_like(logits))


def profile(attack: Attack, settings: Sequence[PgdSetting], rows: int = 25) -> None:
    """Print the functions in which an attack spends most of its time, calls of other functions included."""
    with cProfile.Profile() as counted:
        attack(settings, 0)
    pstats.Stats(counted).sort_stats("cumulative").print_stats(rows)
