"""Models that change their weights while they answer are refused, and have their weights back afterwards."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from robustbench_wb import evaluate
from robustbench_wb.engine.steady_weights import steady_weights
from robustbench_wb.errors import SubjectError

FREE = ("calls", "scratch")
"""Buffers that may change."""


class Adapting(nn.Module):
    """Changes something of itself in each forward pass."""

    calls: Tensor
    mean: Tensor
    cached: Tensor

    def __init__(self, change: Callable[["Adapting"], object]) -> None:
        super().__init__()
        self.change, self.net = change, nn.Linear(16, 2)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(16))
        self.register_buffer("scratch", torch.zeros(4))
        self.register_buffer("cached", torch.zeros(16), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        self.change(self)
        found: Tensor = self.net(images.flatten(1) - self.mean)
        return found


def _replace(model: Adapting) -> None:
    model.net.weight = nn.Parameter(torch.ones(2, 16))


def _delete(model: Adapting) -> None:
    del model.mean
    model.mean = 0.0  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda model: model.net.weight.data.mul_(1.01), "net.weight"),
        (lambda model: model.mean.add_(0.1), "mean"),
        (_replace, "net.weight"),
        (_delete, "mean"),
        (lambda model: (model.calls.add_(1), model.cached.add_(1)), ""),
        (lambda model: setattr(model, "scratch", torch.rand(int(model.calls.add_(1)))), ""),
    ],
    ids=["data", "buffer", "replaced", "deleted", "counts", "scratch"],
)
def test_a_model_that_changes_its_weights_is_refused_and_put_back(
    change: Callable[[Adapting], object], named: str
) -> None:
    model, images = Adapting(change), torch.rand(4, 1, 4, 4)
    with torch.no_grad():
        model.net.bias[0] = torch.nan  # NaN equals itself here
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if name not in FREE}
    refused = pytest.raises(SubjectError, match=rf"changed its weights while it answered \({named}\)")
    with refused if named else nullcontext(), steady_weights(model), torch.no_grad():
        model(images)
    after = {name: tensor for name, tensor in model.state_dict().items() if name not in FREE}
    torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)


def test_the_cell_of_such_a_model_is_an_error() -> None:
    images = torch.rand(6, 1, 4, 4)
    row = evaluate(Adapting(lambda model: model.mean.add_(0.1)), images, torch.arange(6) % 2).rows[0]
    assert "the model changed its weights while it answered (model.mean)" in row.error
