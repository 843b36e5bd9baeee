"""What users write for a model, as a function from a shape to a module: a function, a class, or a ready module."""

import inspect
from collections.abc import Callable
from copy import deepcopy

from torch import nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.shape import Shape


def as_maker(written: object, reference: str) -> Callable[[Shape], object]:
    """Function from a shape to a module.

    A ready module is copied for each call. A function or class without parameters is called without the shape; one
    whose only parameter is ``shape`` by keyword gets it by keyword.

    Raises:
        UsageError: ``written`` is something else, or needs other arguments than the shape.
    """
    if isinstance(written, nn.Module):
        module = written
        return lambda shape: deepcopy(module)
    if not callable(written):
        kind = type(written).__name__
        name = reference.rpartition(":")[2]
        raise UsageError(
            f"{name!r} of {reference} is a {kind}; write a function from a shape to a torch.nn.Module, or a module"
        )
    function = written
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return lambda shape: function(shape)
    if _binds(signature, 1):
        return lambda shape: function(shape)
    if _binds(signature, 0):
        return lambda shape: function()
    if _binds(signature, 0, shape=None):
        return lambda shape: function(shape=shape)
    raise UsageError(f"{reference} takes {signature}; write a function that takes one argument, the shape")


def _binds(signature: inspect.Signature, count: int, **named: object) -> bool:
    try:
        signature.bind(*[None] * count, **named)
    except TypeError:
        return False
    return True
