"""Refusal of models that change their weights while they answer: every answer would depend on the samples before it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustbench_wb.errors import SubjectError

NAMED = 3
"""Largest number of weights that the message names."""


@contextmanager
def steady_weights(model: nn.Module) -> Iterator[None]:
    """Refuse a model that changes its weights in this block, and put them back at its end.

    Weights are all parameters, and the buffers with fractions that are saved. A buffer of integers may count calls, and
    one that gets another shape holds results of a batch.

    Raises:
        SubjectError: the model changed weights; the message names them.
    """
    parts = [part for part in model.modules() if not isinstance(part, torch.jit.ScriptModule)]
    places = [(part, dict(part._parameters), dict(part._buffers)) for part in parts]
    before = {name: (tensor, tensor.detach().clone()) for name, tensor in _weights(model).items()}
    changed: list[str] = []
    try:
        yield
    finally:
        now = _weights(model)
        fixed = {name for name, _ in model.named_parameters()}
        changed += [
            name
            for name, (_, value) in before.items()
            if not _are_equal(now.get(name), value)
            and (name in fixed or name not in now or now[name].shape == value.shape)
        ]
        if changed:
            for part, parameters, buffers in places:  # some may be other tensors now
                part._parameters.update(parameters)
                part._buffers.update(buffers)
            with torch.no_grad():
                for tensor, value in before.values():
                    tensor.copy_(value)
    if changed:
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        raise SubjectError(
            f"the model changed its weights while it answered ({', '.join(changed[:NAMED])}{more}), so that answers "
            "depend on the samples before; let its forward leave weights as they are in evaluation mode"
        )


def _weights(model: nn.Module) -> dict[str, Tensor]:
    saved = model.state_dict().keys()
    fractions = ((name, buffer) for name, buffer in model.named_buffers() if buffer.is_floating_point())
    return dict([*model.named_parameters(), *((name, buffer) for name, buffer in fractions if name in saved)])


def _are_equal(one: Tensor | None, other: Tensor) -> bool:
    """Whether tensors have equal bytes, NaN included."""
    if one is None or (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    return torch.equal(one, other) or torch.equal(_bytes(one), _bytes(other))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
