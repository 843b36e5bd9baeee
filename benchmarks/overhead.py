"""What an attack costs beyond the model: its calls are recorded, and played back on the bare model."""

import cProfile
import pstats
from collections.abc import Sequence

import torch
from peers import Attack, Setting
from torch import Tensor, nn


class Recorder(nn.Module):
    """The model, with every batch that it is asked about noted down."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls: list[tuple[Tensor, bool]] = []
        """Images, and whether their gradient was taken."""

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits."""
        self.calls.append((images.detach(), images.requires_grad))
        logits: Tensor = self.model(images)
        return logits


def replay(model: nn.Module, calls: list[tuple[Tensor, bool]]) -> None:
    """The same passes, and nothing else."""
    for images, gradient in calls:
        with torch.set_grad_enabled(gradient):
            logits = model(images.requires_grad_(gradient))
            if gradient:
                torch.autograd.grad(logits, images, torch.ones_like(logits))


def profile(attack: Attack, settings: Sequence[Setting], rows: int = 25) -> None:
    """Print the functions in which an attack spends its time, with all that they call."""
    with cProfile.Profile() as counted:
        attack(settings, 0)
    pstats.Stats(counted).sort_stats("cumulative").print_stats(rows)
