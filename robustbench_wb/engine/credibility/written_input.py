"""Cause of a wrong gradient: the model writes to its input in a way that autograd does not see."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

NAME = "writes_to_input"
"""Name of the evidence: 1 if the gradient is wrong and the model changes its input."""


def with_written_input(evidence: Mapping[str, float], model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Evidence of a probe with ``NAME``, which takes one forward pass if the probe found a wrong gradient.

    Args:
        evidence: evidence of the probe.
        model: the probed model.
        inputs: a few images or token ids.

    Raises:
        Exception: whatever the model raises.
    """
    if not evidence.get("slope_wrong") or not _writes(model, inputs):
        return dict(evidence)
    return {**evidence, NAME: 1.0}


def _writes(model: nn.Module, inputs: Tensor) -> bool:
    """Whether the forward pass changes the tensor that it is given, which is a copy."""
    given: list[tuple[Tensor, Tensor]] = []

    def keep(module: nn.Module, arguments: tuple[object, ...]) -> None:
        given.extend((one, one.clone()) for one in arguments if isinstance(one, Tensor))

    handle = model.register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            model(inputs.clone())
    finally:
        handle.remove()
    return any(not torch.equal(one, before) for one, before in given)
