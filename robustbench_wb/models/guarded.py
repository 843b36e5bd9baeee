"""Models of users behind a guard: each call gets copies of its inputs, and what it changes for the process is put back.

A guarded module keeps its state, structure and methods. Only its class is replaced, by a subclass of the same name
whose calls are guarded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from robustbench_wb.models.weights import weights_dtype
from robustbench_wb.user_code import UserCode


def guard(model: nn.Module, code: UserCode, *, casts: bool = False) -> nn.Module:
    """Guard every later call of a module, and return the module. A guarded module stays as it is.

    ``casts``: images are cast to the number format of the weights, for a model that takes no float32. The cast is
    outside the model, so that gradients reach the images in float32.

    Attacks and evaluations give the module their own tensors. A module that changes its inputs in place, as much code
    for images does, changes a copy. Gradients reach the inputs through the copy.
    """
    if not isinstance(model, _Guarded):
        kind: Any = type(model)
        model.__class__ = _guarded_class(kind)
        vars(model).update({_CODE: code, _CASTS: casts})
        _copy_word_vectors(model)
    return model


@contextmanager
def lent(model: nn.Module, code: UserCode) -> Iterator[None]:
    """Guard a wrapper around a module of the caller in this block; the caller's module is put back at its end."""
    guard(model, code)
    table = _word_table(model)
    try:
        yield
    finally:
        if isinstance(table, _Copying):
            table.__class__ = type(table).__mro__[1]


_CODE, _CASTS = "_robustbench_wb_code", "_robustbench_wb_casts"


class _Guarded:
    """Mark of classes whose calls are guarded."""


class _Copying:
    """Mark of classes whose calls return copies."""


def _word_table(model: nn.Module) -> nn.Module | None:
    """Embedding layer of a text model, whose outputs attacks on word vectors replace by their own tensors."""
    ask = getattr(getattr(model, "model", model), "get_input_embeddings", None)
    with suppress(Exception):  # the model may not know
        table = cast("Callable[[], object]", ask)() if callable(ask) else None
        return table if isinstance(table, nn.Module) else None
    return None


def _copy_word_vectors(model: nn.Module) -> None:
    table = _word_table(model)
    if table is not None and not isinstance(table, _Copying):
        kind: Any = type(table)
        table.__class__ = _copying_class(kind)


@cache
def _guarded_class(own: type[nn.Module]) -> Any:
    def call(self: nn.Module, *given: object, **named: object) -> object:
        dtype = weights_dtype(self) if vars(self).get(_CASTS) else None
        with cast("UserCode", vars(self)[_CODE]).running(thorough=False):
            shown = [_copy(one, dtype) for one in given]
            if shown and isinstance(shown[0], Tensor) and not len(shown[0]):
                whole = own.__call__(self, _one_blank(shown[0]), *shown[1:], **named)
                return cast("Tensor", whole)[:0]
            return own.__call__(self, *shown, **named)

    return _subclass(own, _Guarded, call)


@cache
def _copying_class(own: type[nn.Module]) -> Any:
    def call(self: nn.Module, *given: object, **named: object) -> object:
        return _copy(own.__call__(self, *given, **named))

    return _subclass(own, _Copying, call)


def _subclass(own: type[nn.Module], mark: type, call: Callable[..., object]) -> Any:
    members = {"__call__": call, "__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
    make: Any = type(own)  # classes of modules may have a metaclass
    return make(own.__name__, (own, mark), members)


def _one_blank(inputs: Tensor) -> Tensor:
    """One blank sample for a batch without samples, which many models cannot take; gradients still reach the batch."""
    blank = inputs.new_zeros((1, *inputs.shape[1:]))
    return blank + inputs.sum() if inputs.is_floating_point() else blank


def _copy(given: object, dtype: torch.dtype | None = None) -> object:
    """A copy of a tensor, in another number format if one is given and it holds fractions."""
    if not isinstance(given, Tensor):
        return given
    return given.clone() if dtype in (None, given.dtype) or not given.is_floating_point() else given.to(dtype)
