"""BPDA: gradients of a part are replaced, its forward pass is not, and a defence without gradients is broken."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb import evaluate
from robustbench_wb.errors import MeasurementError
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.tasks.task import Dataset
from tests.known import known
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch

Trained = Callable[[str], nn.Module]
LEVELS = 16


class Quantise(nn.Module):
    """Rounds pixels to 16 levels: its derivative is zero almost everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        return (images * (LEVELS - 1)).round() / (LEVELS - 1)


class Smooth(nn.Module):
    """A smooth function near the quantiser."""

    def forward(self, images: Tensor) -> Tensor:
        return images + 0.0 * images**2


class Defended(nn.Module):
    """A network behind a quantiser."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.preprocess, self.smooth, self.network = Quantise(), Smooth(), network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.preprocess(images))
        return logits


def digits_batch(model: nn.Module, digits: Dataset, count: int = 40) -> AttackedBatch:
    images, labels = torch.tensor(digits.test.inputs[:200]).float() / 255, torch.tensor(digits.test.labels[:200])
    with torch.no_grad():
        right = torch.nonzero(model(images).argmax(1) == labels)[:count, 0]
    return attacked_batch(model, inputs=images[right], labels=labels[right], ids=right, batch_size=64)


def test_a_defence_without_gradients_is_broken(trained: Trained, digits: Dataset) -> None:
    defended = Defended(trained("vit")).eval()
    batch = digits_batch(defended, digits)
    counts = {}
    for signature in ("pgd-linf;eps=32/255", "bpda-linf;eps=32/255;module=preprocess",
                      "bpda-linf;eps=32/255;module=preprocess;derivative=smooth"):  # fmt: skip
        found = parse_stressor(signature).apply(batch, batch.access)
        counts[signature] = int(known(found.broken).sum())
        with torch.no_grad():  # the model itself errs at what was found
            wrong = (defended(found.inputs).argmax(1) != batch.labels).numpy()
        assert np.array_equal(known(found.broken), wrong)
    blind, straight, smooth = counts.values()
    assert blind <= 5
    assert min(straight, smooth) >= 35
    plain = digits_batch(trained("vit"), digits)
    attacked = parse_stressor("pgd-linf;eps=32/255").apply(plain, plain.access)
    assert straight >= int(known(attacked.broken).sum()) - 2


def test_without_a_replaced_gradient_it_is_pgd(trained: Trained, digits: Dataset) -> None:
    """The identity in front of a network has its own gradient, so that nothing is replaced; also inside wrappers."""
    defended = nn.Sequential(nn.Identity(), trained("vit")).eval()
    images, labels = digits.test.inputs[:60], digits.test.labels[:60]
    found = evaluate(
        nn.ModuleDict({"inner": defended})["inner"], images, labels,
        stressors=["pgd-linf;eps=16/255;steps=5", "bpda-linf;eps=16/255;steps=5;module=0"],
    )  # fmt: skip
    _, plain, replaced = (known(row.accuracy) for row in found.rows)
    assert plain < 0.9
    assert abs(plain - replaced) < 0.06  # other random starts


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("module=stem", "no part 'stem'; it has preprocess, smooth, network, network.embedding"),
        (
            "module=network",
            r"module=network changes the shape, from \(\d+, 1, 8, 8\) to \(\d+, 10\); name a derivative",
        ),
        ("module=head.norm", "no part 'head.norm'"),
    ],
)
def test_a_wrong_part_is_named(given: str, words: str, trained: Trained, digits: Dataset) -> None:
    batch = digits_batch(Defended(trained("vit")).eval(), digits, 4)
    with pytest.raises(MeasurementError, match=words):
        parse_stressor(f"bpda-linf;eps=8/255;{given}").apply(batch, batch.access)
    assert not any(part._forward_hooks for part in batch.access.model.modules())
