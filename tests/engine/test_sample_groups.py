"""Samples that a library perturbs together are the same ones at every batch size."""

import pytest
import torch
from torch import nn

from robustbench_wb import evaluate
from robustbench_wb.engine import task_samples


def test_groups_of_a_library_do_not_depend_on_the_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_samples, "BATCH_BYTES", 1)  # as large images do, so that batches are small
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    images = torch.rand(23, 3, 8, 8)
    labels = model(images).argmax(1)
    attack = "torchattacks:PGD;eps=2/255;alpha=4/255;steps=1;batch=4"  # one step: its random start decides

    def perturbed(size: int) -> bytes:
        result = evaluate(model, images, labels, stressors=[attack], batch_size=size, keep_images=True)
        found = result.rows[1].images
        assert found is not None
        return found.tobytes()

    assert len({perturbed(size) for size in (2, 4, 5, 11, 64)}) == 1
