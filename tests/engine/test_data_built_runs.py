"""Runs of a variant whose layers are built from the training split: with and without training, and what is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from robustbench_wb.api import run as harness
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.variant import Size
from robustbench_wb.progress import Advance, Progress, SilentProgress
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.tasks.digits import DIGITS
from robustbench_wb.training.recipe import Recipe
from robustbench_wb.training.train_or_load import TrainedWeights, TrainingRequest, train_or_load
from tests.known import known

SMALL = "redunet;depth=2;width=8"


def rows(folder: Path, **more: object) -> list[ScoreRow]:
    given = {
        "suite": "clean", "tasks": ("digits",), "variants": (SMALL,), "recipe": "none", "samples": 200, "device": "cpu",
    }  # fmt: skip
    return list(harness.run(RunRequest(**{**given, **more}), results=str(folder)).rows)


def test_without_training_it_has_the_layers_that_are_built_from_the_training_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    (first,) = rows(tmp_path / "one")
    assert known(first.accuracy) > 0.9
    (again,) = rows(tmp_path / "two")
    assert again.key == first.key  # the same weights, from the cache
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "other"))
    (built,) = rows(tmp_path / "three")
    assert built.key == first.key  # the same weights, built again


def test_it_is_built_from_contaminated_labels_as_well(tmp_path: Path, cache: str) -> None:
    clean, noisy = rows(tmp_path, stressors=("label-noise;rate=4/5",))
    assert noisy.status == "ok"
    assert known(noisy.accuracy) < known(clean.accuracy) - 0.1


class Stop(BaseException):
    """Not an Exception, as when a process is told to end."""


class StopAfter(SilentProgress):
    """A progress that stops the training after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Count the steps down."""

        def advance(count: int) -> None:
            self.steps -= count
            if self.steps < 0:
                raise Stop

        yield advance


def train(progress: Progress) -> TrainedWeights:
    data = DIGITS.load(None)
    variant = VARIANTS.get("redunet").model_copy(update={"sizes": {"toy": Size(width=4, depth=2, heads=1)}})
    request = TrainingRequest(
        build=lambda: build(variant, "toy", data.shape, mean=[0.3], std=[0.35], seed=0),
        model_code="toy",
        recipe=Recipe(epochs=1, batch=64, train_samples=256, learning_rate=3e-3),
        seed=0,
        split=data.train,
        device=torch.device("cpu"),
        numerics="cpu",
        label="redunet",
        progress=progress,
    )
    return train_or_load(request)


def test_a_resumed_training_goes_on_and_builds_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_wb.training.loop.SNAPSHOT_SECONDS", 0.0)
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "one"))
    whole = train(SilentProgress())
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "two"))
    with pytest.raises(Stop):
        train(StopAfter(2))
    assert train(SilentProgress()).weights == whole.weights


@pytest.mark.parametrize("task", ["sentences", "sentences-lm", "digits-sequence", "scattered-digits"])
@pytest.mark.parametrize("recipe", ["none", "standard"])
def test_other_tasks_are_refused_in_one_line(task: str, recipe: str, tmp_path: Path, cache: str) -> None:
    said = f"variant '{SMALL}' is for image classification only, and task '{task}' is not"
    with pytest.raises(UsageError, match=f"^{said}$"):
        rows(tmp_path, tasks=(task,), recipe=recipe)


def test_without_a_training_split_it_is_refused(tmp_path: Path, cache: str) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16), name == "cat").save(tmp_path / "pictures" / name / "one.png")
    with pytest.raises(UsageError, match=r"for training, and 'redunet' builds its layers from training data"):
        rows(tmp_path, tasks=(f"folder:{tmp_path / 'pictures'}",), variants=("redunet",), samples=2)
