"""Runs that take a fraction of a second: a part of digits, a small net with dropout and tied weights."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_wb.progress import Advance, SilentProgress
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.task import Split
from robustbench_wb.training.recipe import Recipe
from robustbench_wb.training.train_or_load import TrainedWeights, TrainingRequest, train_or_load

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, batch=16, shift=1, flip=True, label_smoothing=0.1)
SAMPLES = 100
STEPS = 3 * 7
LONG = RECIPE.model_copy(update={"epochs": 20})
SLOWLY = """
import logging
import torch
import robustbench_wb.training.loop as loop
from tests.training.small_runs import LONG, Slow, run

logging.basicConfig(level="WARNING")
loop.SNAPSHOT_SECONDS = 0.01
torch.set_num_threads(1)
trained = run(recipe=LONG, progress=Slow())
print(trained.fresh, trained.weights)
"""


class Slow(SilentProgress):
    """Takes its time at every step: the process that reports its progress can be killed between two."""

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        yield lambda count: time.sleep(0.02)


def digits(samples: int = SAMPLES) -> Split:
    train = find_task("digits").load(None).train
    return Split(inputs=train.inputs[:samples], labels=train.labels[:samples])


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


def run(make: Callable[[], nn.Module] = build, **changes: Any) -> TrainedWeights:
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
        "progress": SilentProgress(),
    }
    return train_or_load(TrainingRequest(**(given | changes)))


def checkpoints(cache: Path, ending: str) -> list[Path]:
    """Files of that ending; leftovers of killed writers are never read and do not count."""
    found = sorted((cache / "checkpoints").glob(f"*{ending}"))
    return [path for path in found if not path.name.startswith(".tmp-")]


def train_slowly(cache: Path) -> "subprocess.Popen[str]":
    """A process that trains by ``LONG``, a snapshot after every step, and prints whether it did, and the weights."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "RBWB_CACHE_DIR": str(cache),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", SLOWLY]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def snapshots(cache: Path) -> dict[Path, int]:
    """Every snapshot, and when it was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in checkpoints(cache, ".partial")}


def until_it_trains(cache: Path, process: "subprocess.Popen[str]", before: dict[Path, int]) -> None:
    """Wait for a snapshot that is not among those from before."""
    end = time.monotonic() + 60
    while snapshots(cache) == before:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.005)
