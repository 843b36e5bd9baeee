"""What a test knows and a type checker cannot: that an optional value is there, and what a module is made of."""

from typing import Any, TypeVar

from torch import Tensor, nn

T = TypeVar("T")

NOT_CAUSAL = frozenset({"doubly-stochastic"})
"""Variants whose attention has no causal form, so that they refuse language modelling."""

IMAGES_ONLY = frozenset({"redunet"})
"""Variants of image classification alone, without pairs of tokens; ``tests/models/test_redunet.py`` is about them."""


def known(value: T | None) -> T:
    """The value, which is there."""
    assert value is not None
    return value


def parts(module: nn.Module | Tensor) -> Any:
    """The module, to reach into: torch types each attribute of a module as a tensor or a module, whatever it is."""
    return module


def a(kind: type[T], value: object) -> T:
    """The value, which is of this kind."""
    assert isinstance(value, kind)
    return value
