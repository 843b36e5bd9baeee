"""Models of users behind a guard: each call gets copies of its inputs, and what it changes for the process is put back.

A guarded module keeps its state, structure and methods. Only its class is replaced, by a subclass of the same name
whose calls are guarded.
"""

from functools import cache
from typing import Any, cast

from torch import Tensor, nn

from robustbench_wb.user_code import UserCode


def guard(model: nn.Module, code: UserCode) -> nn.Module:
    """Guard every later call of a module, and return the module. A guarded module stays as it is.

    Attacks and evaluations give the module their own tensors. A module that changes its inputs in place, as much code
    for images does, changes a copy. Gradients reach the inputs through the copy.
    """
    if not isinstance(model, _Guarded):
        kind: Any = type(model)
        model.__class__ = _guarded_class(kind)
        vars(model)[_CODE] = code
    return model


_CODE = "_robustbench_wb_code"


class _Guarded:
    """Mark of guarded classes."""


@cache
def _guarded_class(own: type[nn.Module]) -> Any:
    def call(self: nn.Module, *given: object, **named: object) -> object:
        with cast("UserCode", vars(self)[_CODE]).running(thorough=False):
            return own.__call__(self, *map(_copy, given), **named)

    members = {"__call__": call, "__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
    make: Any = type(own)  # classes of modules may have a metaclass
    return make(own.__name__, (own, _Guarded), members)


def _copy(given: object) -> object:
    return given.clone() if isinstance(given, Tensor) else given
