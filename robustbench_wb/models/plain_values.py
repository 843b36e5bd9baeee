"""JSON values that stand for the plain attributes of a module in memory."""

import dataclasses
import enum
import functools
import re
from collections.abc import Mapping, Sequence, Set
from fractions import Fraction
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from robustbench_wb.models.weights import weights_digest

_BY_REPR = (float, complex, bytes, Fraction, torch.dtype, torch.device, torch.Size, np.generic, PurePath, re.Pattern)


class UndigestedError(Exception):
    """Something about a module has no identity. The message completes "because ..."."""


class CodeNames(Protocol):
    """Names the classes and functions that values hold, and notes their code."""

    def name(self, thing: type | FunctionType) -> str:
        """Qualified name of a class or function.

        Raises:
            UndigestedError: its code has no identity.
        """
        ...


def plain_value(value: object, path: str, code: CodeNames) -> object:
    """A JSON value that stands for a plain attribute.

    Args:
        value: the attribute.
        path: its place, for the message.
        code: is told of every class and function in it, and names them.

    Raises:
        UndigestedError: it holds something whose value cannot be told.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, _BY_REPR):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, Tensor | np.ndarray):
        return _array(value, path)
    if isinstance(value, enum.Enum):
        return [code.name(type(value)), value.name]
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return _function(value, path, code)
    if isinstance(value, functools.partial):
        return [plain_value(part, path, code) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, Mapping | Sequence | set | frozenset):
        return _container(value, path, code)
    return _fields(value, path, code)


def _array(value: Tensor | NDArray[np.generic], path: str) -> str:
    try:
        return weights_digest({"": torch.as_tensor(value)})
    except (TypeError, RuntimeError) as error:  # text, objects, sparse or meta tensors
        raise UndigestedError(f"{path} has no plain value") from error


def _container(value: Mapping[object, object] | Sequence[object] | Set[object], path: str, code: CodeNames) -> object:
    if getattr(value, "__dict__", None):
        raise UndigestedError(f"{path} is a {type(value).__name__} with attributes of its own")
    if isinstance(value, Mapping):
        return [[plain_value(key, path, code), plain_value(item, path, code)] for key, item in value.items()]
    if isinstance(value, Set):
        return sorted(str(plain_value(item, path, code)) for item in value)
    return [type(value).__name__, *(plain_value(item, path, code) for item in value)]


def _fields(value: object, path: str, code: CodeNames) -> object:
    if isinstance(value, BaseModel):
        hidden = [value.__pydantic_private__, value.__pydantic_extra__]
        return [code.name(type(value)), value.model_dump_json(), plain_value(hidden, path, code)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        parts = {**getattr(value, "__dict__", {}), **fields}  # others may have been set at run time
        return [code.name(type(value)), plain_value(parts, path, code)]
    raise UndigestedError(f"{path} is a {type(value).__name__}, which has no plain value")


def _function(value: type | FunctionType | BuiltinFunctionType, path: str, code: CodeNames) -> str:
    if isinstance(value, BuiltinFunctionType):
        if not any(getattr(place, value.__name__, None) is value for place in (torch, nn.functional)):
            raise UndigestedError(f"{path} is a built-in function")
        return f"torch.{value.__name__}"
    if isinstance(value, FunctionType) and value.__closure__:
        raise UndigestedError(f"{path} is a function with variables of its surroundings")
    return code.name(value)
