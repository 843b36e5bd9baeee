"""Runs that take a fraction of a second: a part of digits, a small net with dropout and tied weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_wb.progress import Silent
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.task import Split
from robustbench_wb.training.recipe import Recipe
from robustbench_wb.training.stage import Trained, obtain

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, batch=16, shift=1, flip=True, label_smoothing=0.1)
SAMPLES = 100
STEPS = 3 * 7


def digits(samples: int = SAMPLES) -> Split:
    train = find_task("digits").load(None).train
    return Split(train.inputs[:samples], train.labels[:samples])


class Net(nn.Module):
    """Two layers; dropout draws from torch's own generator, the last two weights are one tensor."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.first, self.middle, self.tied = nn.Linear(64, 10), nn.Linear(10, 10), nn.Linear(10, 10)
        self.tied.weight = self.middle.weight
        self.norm, self.dropout = nn.BatchNorm1d(10), nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm(self.first(images.view(len(images), -1)))
        return self.tied(torch.relu(self.middle(self.dropout(hidden))))


def build(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net()


def run(make: Callable[[], nn.Module] = build, **changes: Any) -> Trained:
    """``obtain`` with small defaults."""
    given: dict[str, Any] = {
        "build": make,
        "model_code": "net",
        "recipe": RECIPE,
        "seed": 0,
        "split": digits(),
        "device": CPU,
        "numerics": "cpu",
        "label": "net on digits",
        "progress": Silent(),
    }
    return obtain(**(given | changes))


def checkpoints(cache: Path, ending: str) -> list[Path]:
    """Files of that ending; leftovers of killed writers are never read and do not count."""
    found = sorted((cache / "checkpoints").glob(f"*{ending}"))
    return [path for path in found if not path.name.startswith(".tmp-")]
