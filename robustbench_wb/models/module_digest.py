"""Identity of what a module in memory computes, apart from its weights: code, structure and plain attributes."""

import dataclasses
import enum
import functools
import sys
import sysconfig
from collections.abc import Mapping, Sequence, Set
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from robustbench_wb import source
from robustbench_wb.models.loaded_code import is_as_written
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.source import PACKAGE_ROOT, code_digest
from robustbench_wb.spec import digest

_STATE = {"_parameters", "_buffers", "_modules", "training", "_non_persistent_buffers_set"}
_LIBRARIES = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]


class UndigestedError(Exception):
    """Something about a module has no identity. The message completes "because ..."."""


def module_digest(module: nn.Module) -> str:
    """SHA-256 (hex) over the code of every class and function behind a module, its structure and its attributes.

    Code of the user and of this package counts by its syntax and its imports, code of libraries by their release.
    Parameters and persistent buffers are left out: they are the weights.

    Raises:
        UndigestedError: a class comes from a notebook or a function, there are hooks, or an attribute is not plain.
    """
    source.forget()  # files may have been edited since the last run of this process
    code = _Code()
    persistent = set(module.state_dict())
    parts = [
        {"path": path, "class": code.name(type(part)), "attributes": _attributes(part, path or "the model", code)}
        for path, part in module.named_modules()
    ]
    hidden = {name: buffer for name, buffer in module.named_buffers() if name not in persistent}
    return digest({"parts": parts, "buffers": weights_digest(hidden), "code": code.digests()})


class _Code:
    """The modules of Python that classes and functions come from."""

    def __init__(self) -> None:
        self.own: dict[Path, set[str]] = {}
        self.releases: dict[str, str] = {}

    def name(self, thing: type | FunctionType) -> str:
        """Qualified name of a class or function; the code of its module, and of its base classes, is noted.

        Raises:
            UndigestedError: its source has no file of its own.
        """
        if "<lambda>" in thing.__qualname__ or "<locals>" in thing.__qualname__:
            raise UndigestedError(f"{thing.__qualname__} is defined inside a function or as a lambda")
        for kind in thing.__mro__ if isinstance(thing, type) else (thing,):
            self._note(kind)
        return f"{thing.__module__}.{thing.__qualname__}"

    def _note(self, thing: type | FunctionType) -> None:
        module = sys.modules.get(thing.__module__)
        top = sys.modules.get(thing.__module__.partition(".")[0])
        file = getattr(module, "__file__", None)
        if thing.__module__ in sys.builtin_module_names:
            return
        if file is None or top is None or not file.endswith(".py"):
            raise UndigestedError(f"{thing.__qualname__} has no source file (a notebook or an interactive session)")
        path, folder = Path(file).resolve(), _package_folder(top)
        if folder != PACKAGE_ROOT and any(path.is_relative_to(library) for library in _LIBRARIES):
            name = thing.__module__.partition(".")[0]
            self.releases[name] = _release(name)
        elif not _unchanged(thing, path):
            raise UndigestedError(f"{thing.__qualname__} in memory differs from its source file; import it again")
        elif folder is None:
            self.own.setdefault(path.parent, set()).add(path.stem)
        else:
            self.own.setdefault(folder, set()).add(thing.__module__)

    def digests(self) -> dict[str, object]:
        """Digests of own code, and releases of libraries.

        Raises:
            UndigestedError: a source file cannot be found any more.
        """
        try:
            own = sorted(code_digest(*sorted(names), root=root) for root, names in self.own.items())
        except (OSError, SyntaxError) as error:
            raise UndigestedError(f"its source cannot be read: {error}") from error
        return {"own": own, "libraries": self.releases}


def _unchanged(thing: type | FunctionType, path: Path) -> bool:
    try:
        return is_as_written(thing, path)
    except (OSError, SyntaxError) as error:
        raise UndigestedError(f"its source cannot be read: {error}") from error


@functools.cache
def _release(name: str) -> str:
    """Release of the distribution that a library comes with; Python's own for its standard library."""
    if name in sys.stdlib_module_names:
        return sys.version.partition(" ")[0]
    try:
        return version(name)
    except PackageNotFoundError:  # its distribution has another name, and finding that takes seconds
        owner = packages_distributions().get(name)
    if not owner:
        raise UndigestedError(f"the release of {name} is not known")
    return version(owner[0])


def _package_folder(top: ModuleType) -> Path | None:
    """Folder of a package; None for a module of one file, like a script."""
    file = getattr(top, "__file__", None)
    return Path(file).resolve().parent if file is not None and Path(file).name == "__init__.py" else None


def _attributes(part: nn.Module, path: str, code: _Code) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in vars(part).items():
        if name in _STATE:
            continue
        if name.startswith("_") and name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
            if value:
                raise UndigestedError(f"{path} has hooks")
            continue
        found[name] = _plain(value, f"{path}.{name}", code)
    return found


def _plain(value: object, path: str, code: _Code) -> object:
    """A JSON value that stands for a plain attribute."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | complex | bytes | Fraction | torch.dtype | torch.device | torch.Size | np.generic):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, Tensor | np.ndarray):
        return _array(value, path)
    if isinstance(value, enum.Enum):
        return [code.name(type(value)), value.name]
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return _function(value, path, code)
    if isinstance(value, functools.partial):
        return [_plain(part, path, code) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, Mapping | Sequence | set | frozenset):
        return _container(value, path, code)
    return _fields(value, path, code)


def _array(value: Tensor | NDArray[np.generic], path: str) -> str:
    try:
        return weights_digest({"": torch.as_tensor(value)})
    except (TypeError, RuntimeError) as error:  # text, objects, sparse or meta tensors
        raise UndigestedError(f"{path} has no plain value") from error


def _container(value: Mapping[object, object] | Sequence[object] | Set[object], path: str, code: _Code) -> object:
    if getattr(value, "__dict__", None):
        raise UndigestedError(f"{path} is a {type(value).__name__} with attributes of its own")
    if isinstance(value, Mapping):
        return [[_plain(key, path, code), _plain(item, path, code)] for key, item in value.items()]
    if isinstance(value, Set):
        return sorted(str(_plain(item, path, code)) for item in value)
    return [type(value).__name__, *(_plain(item, path, code) for item in value)]


def _fields(value: object, path: str, code: _Code) -> object:
    if isinstance(value, BaseModel):
        return [code.name(type(value)), value.model_dump_json()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return [code.name(type(value)), _plain(parts, path, code)]
    raise UndigestedError(f"{path} is a {type(value).__name__}, which has no plain value")


def _function(value: type | FunctionType | BuiltinFunctionType, path: str, code: _Code) -> str:
    if isinstance(value, BuiltinFunctionType):
        if not any(getattr(place, value.__name__, None) is value for place in (torch, nn.functional)):
            raise UndigestedError(f"{path} is a built-in function")
        return f"torch.{value.__name__}"
    if isinstance(value, FunctionType) and value.__closure__:
        raise UndigestedError(f"{path} is a function with variables of its surroundings")
    return code.name(value)
