"""Weights put back into a model that registers or replaces buffers while it runs."""

from collections.abc import Mapping

from torch import Tensor, nn


def restore_state(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a ``state_dict`` that another copy of the model had after it ran.

    A buffer that the model registers or replaces in its forward pass is not there yet, or has another shape or type:
    it is registered first.

    Raises:
        RuntimeError: names or shapes of parameters differ.
    """
    own = model.state_dict()
    for name, tensor in tensors.items():
        before = own.get(name)
        if before is not None and (before.shape, before.dtype) == (tensor.shape, tensor.dtype):
            continue
        place, _, leaf = name.rpartition(".")
        part = dict(model.named_modules()).get(place)
        if part is not None and (leaf in part._buffers or not hasattr(part, leaf)):
            part.register_buffer(leaf, tensor.detach().clone().to(before.device if before is not None else "cpu"))
    model.load_state_dict(tensors)
