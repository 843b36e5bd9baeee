"""Wall time of one pass of a model, for the cost forecast and the doctor."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

PATIENCE = 1.0
"""Seconds after which a timing is repeated at most twice. A pass that takes three times as long is not repeated."""


def timed(action: Callable[[], object], device: torch.device) -> float:
    """Seconds that an action takes: the best of a few repeats."""
    best, spent = float("inf"), 0.0
    for number in range(6):
        started = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken = time.perf_counter() - started
        if number or taken > 3 * PATIENCE:  # the first pass warms up, unless it is all that can be afforded
            best = min(best, taken)
        spent += taken
        if (number > 1 and spent > PATIENCE) or taken > 3 * PATIENCE:
            break
    return best


def train_pass(model: nn.Module, inputs: Tensor) -> None:
    """Run a forward pass and a backward pass to the weights, and freeze the weights afterwards."""
    parameters = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            logits = model(inputs)
            if logits.requires_grad:
                torch.autograd.grad(logits.float().logsumexp(-1).sum(), parameters, allow_unused=True)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
