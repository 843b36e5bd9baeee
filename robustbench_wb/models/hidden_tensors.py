"""Numbers of a model that are not among its weights: buffers that are not saved, and tensors in plain attributes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_REGISTERED = frozenset({"_parameters", "_buffers", "_modules"})
_LEAVES = (str, bytes, int, float, complex, range, type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
_PASSED_BY = frozenset({"logging", "threading", "_thread", "weakref", "typing"})
"""Modules of Python whose objects hold no numbers of a model, but lead to much else."""
_NUMBERED = r"___torch_mangle_\d+\.|_robustbench_wb_external_[0-9a-f]{16}"
"""Parts of names in compiled code that depend on what was compiled before, or on the place of the file."""
_MOST = 200_000
"""Values that are looked at; a model that holds a whole dataset of objects would take long."""


def hidden_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor and array of numbers that a model holds outside of its ``state_dict``, by its place.

    Found are buffers that are not persistent, and tensors and arrays in attributes, at any depth of lists, mappings and
    plain objects; a module in a list is found with its weights. Arrays of texts or objects are left out.
    """
    saved = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    seen, found = {id(model)}, dict[str, Tensor]()
    waiting: list[tuple[str, object]] = [("model", model)]
    looked_at = 0
    while waiting and looked_at < _MOST:
        place, value = waiting.pop()
        for name, inner in _inside(value):
            looked_at += 1
            if isinstance(inner, Tensor | np.ndarray | np.generic):
                tensor = None if id(inner) in saved else _dense(inner)
                if tensor is not None:
                    found[f"{place}.{name}"] = tensor
            elif inner is not None and not isinstance(inner, _LEAVES) and id(inner) not in seen:
                seen.add(id(inner))
                waiting.append((f"{place}.{name}", inner))
    return found


def _inside(value: object) -> Iterator[tuple[str, object]]:
    """What a value holds directly, each with its name there."""
    if isinstance(value, nn.Module):
        yield from value.named_buffers(recurse=False)
        yield from value.named_parameters(recurse=False)
        yield from value.named_children()
    if isinstance(value, torch.jit.ScriptModule):
        yield from _constants(value).items()
    if isinstance(value, Mapping):
        yield from ((repr(key), item) for key, item in list(value.items()) if isinstance(key, str | int))
    elif isinstance(value, Sequence):
        yield from ((str(number), item) for number, item in enumerate(list(value)))
    names = getattr(value, "__dict__", None)
    if isinstance(names, dict) and type(value).__module__.partition(".")[0] not in _PASSED_BY:
        own = ((name, item) for name, item in list(names.items()) if not name.startswith("_robustbench_wb"))
        yield from ((name, item) for name, item in own if name not in _REGISTERED)


def scripted_code(model: nn.Module) -> dict[str, str]:
    """Code of the compiled parts of a model, by place; no source file may be there."""
    parts = {name: part for name, part in model.named_modules() if isinstance(part, torch.jit.ScriptModule)}
    return {name: _code_and_constants(part)[0] for name, part in parts.items()}


def _constants(part: torch.jit.ScriptModule) -> dict[str, object]:
    return _code_and_constants(part)[1]


def _code_and_constants(part: torch.jit.ScriptModule) -> tuple[str, dict[str, object]]:
    try:
        code, constants = part.code_with_constants
    except (AttributeError, RuntimeError):  # a part without a method of its own
        return "", {}
    return re.sub(_NUMBERED, "", str(code)), dict(constants.const_mapping)


def _dense(value: "Tensor | np.ndarray[tuple[int, ...], np.dtype[np.generic]] | np.generic") -> Tensor | None:
    """A tensor, or an array of numbers as a tensor; None for texts and objects, and for a tensor without values."""
    try:
        if not isinstance(value, Tensor):
            return torch.from_numpy(np.array(value))  # a copy: a mapped file cannot be written to
        if value.is_meta or is_lazy(value):
            return None
        return value.detach() if value.layout is torch.strided else value.detach().to_dense()
    except (TypeError, RuntimeError, NotImplementedError):
        return None
