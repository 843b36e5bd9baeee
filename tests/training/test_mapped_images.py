"""Training on pictures that stay on disk gives the weights of training on the same images in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.pictures import decode
from robustbench_wb.tasks.pictures.picture_split import PictureSplit
from robustbench_wb.tasks.task import Split
from tests.known import a
from tests.tasks.test_pictures import picture
from tests.training.small_runs import RECIPE, run

SHARE = 25
"""Training samples; the last batch of 8 would hold one, which batch normalisation cannot take."""


def build() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192), nn.Dropout(0.1), nn.Linear(192, 2))


def test_weights_are_those_of_images_in_memory(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        for number in range(34):
            picture(tmp_path / "photos" / split / "ab"[number % 2] / f"{number}.png", seed=number, size=(8, 8))
    decoded: list[bytes] = []
    real = decode.decode_picture

    def counted(shown: Image.Image, *rest: object) -> object:
        decoded.append(shown.tobytes())
        return real(shown, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "decode_picture", counted)
    mapped = a(PictureSplit, find_task(f"folder:{tmp_path / 'photos'}").load(None).train)
    recipe = RECIPE.model_copy(update={"train_samples": SHARE, "batch": 8, "shift": 2, "flip": True})
    on_disk = run(build, split=mapped, recipe=recipe)
    assert len(decoded) == len(set(decoded)) == SHARE
    memory = Split(inputs=np.array(mapped.inputs), labels=mapped.labels)
    in_memory = run(build, split=memory, recipe=recipe)
    assert (on_disk.fresh, in_memory.fresh) == (True, True)
    assert on_disk.weights == in_memory.weights
