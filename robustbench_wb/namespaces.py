"""Namespaces of modules and classes, whose functions code of users may replace: kept, compared and put back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from operator import is_
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, Final, NamedTuple

CHANGES_NO_NUMBER: Final = "it finds and puts back what code of users replaces"

_OWN: Final = "robustbench_wb"
_LIBRARIES: Final = frozenset({"torch", "numpy", "scipy", "PIL"})
"""Libraries that the numbers of this package are computed with."""
_DEPTH: Final = 3
"""Parts of the name of a public module, such as ``torch.nn.init``."""
_BOOKKEEPING: Final = frozenset({"__builtins__", "__abstractmethods__", "__annotations__", "__warningregistry__"})


class Replaced(NamedTuple):
    """A name that was replaced or deleted."""

    owner: Any
    name: str
    value: object
    """What took the place of the former value; None if the name was deleted."""

    @property
    def path(self) -> str:
        """Full name, such as ``torch.nn.functional.relu``."""
        inside = f"{self.owner.__module__}." if isinstance(self.owner, type) else ""
        return f"{inside}{getattr(self.owner, '__qualname__', self.owner.__name__)}.{self.name}"

    @property
    def is_own(self) -> bool:
        """Whether the name is one of this package."""
        return self.path.startswith(f"{_OWN}.")


class KeptNamespaces:
    """Names of modules and classes with their values, as they are when this object is made.

    Args:
        owners: the modules and classes.
        code_only: whether values that are no functions or classes are left alone.
    """

    def __init__(self, owners: list[Any], *, code_only: bool = False) -> None:
        self._owners, self._names, self._code_only = owners, [vars(owner).copy() for owner in owners], code_only

    def put_back(self) -> Iterator[Replaced]:
        """Put back replaced and deleted names, and yield what replaced them.

        Names that are new stay, because libraries load their parts late, unless they hide one of a base class.
        """
        for owner, names in zip(self._owners, self._names, strict=True):
            now = vars(owner)
            if len(now) != len(names) or not all(map(is_, now.values(), names.values())):
                yield from self._differences(owner, names)

    def _differences(self, owner: Any, names: dict[str, object]) -> Iterator[Replaced]:
        now = vars(owner)
        for name in set(now) - set(names) if isinstance(owner, type) else ():
            if any(name in vars(base) and self._counts(name, vars(base)[name]) for base in owner.__mro__[1:]):
                yield Replaced(owner, name, now[name])
                delattr(owner, name)
        for name, value in names.items():
            found = now.get(name)
            if found is not value and self._counts(name, value):
                yield Replaced(owner, name, found)
                setattr(owner, name, value)

    def _counts(self, name: str, value: object) -> bool:
        is_code = callable(value) or isinstance(value, property | classmethod | staticmethod)
        hidden = name.startswith("__") and not is_code
        return name not in _BOOKKEEPING and (is_code or not (self._code_only or hidden))


def call_owners() -> list[Any]:
    """Modules and classes of torch that are compared after every forward pass."""
    torch = sys.modules.get("torch")
    if torch is None or "numpy" not in sys.modules or not hasattr(torch, "nn"):
        return []
    return [torch.Tensor, torch.nn.functional, torch.nn.Module]


def cell_owners() -> list[Any]:
    """Modules and classes of torch, numpy and Python that are compared after every cell, beside ``call_owners``."""
    torch = sys.modules.get("torch")
    if torch is None or not call_owners():
        return []
    layers = [layer for layer in vars(torch.nn).values() if isinstance(layer, type) and layer is not torch.nn.Module]
    names = ("torch", "torch.nn", "torch.autograd", "numpy", "builtins", "time", "math")
    return [*(sys.modules[name] for name in names), *layers]


def own_owners() -> list[Any]:
    """Modules and classes of this package that are loaded."""
    return _own_owners(len(sys.modules))


@cache
def _own_owners(loaded: int) -> list[Any]:
    return _with_classes(lambda name: name.partition(".")[0] == _OWN)


def library_owners() -> list[Any]:
    """Public modules and classes of the libraries that numbers are computed with."""
    return _library_owners(len(sys.modules))


@cache
def _library_owners(loaded: int) -> list[Any]:
    def is_public(name: str) -> bool:
        parts = name.split(".")
        return parts[0] in _LIBRARIES and len(parts) <= _DEPTH and not any(part.startswith("_") for part in parts)

    return _with_classes(is_public)


def _with_classes(wanted: Callable[[str], bool]) -> list[Any]:
    """Loaded modules whose names are wanted, and the classes of the same libraries that they hold."""
    modules = [(name, module) for name, module in list(sys.modules.items()) if wanted(name)]
    found: dict[int, Any] = {}
    for name, module in modules:
        if isinstance(module, ModuleType):
            found[id(module)] = module
            top = name.partition(".")[0]
            for value in list(vars(module).values()):
                # Not isinstance, which reads attributes: a deprecated object would warn.
                if issubclass(type(value), type) and str(value.__module__).partition(".")[0] == top:
                    found[id(value)] = value
    return list(found.values())


@cache
def load_own_code() -> None:
    """Import all modules that numbers are computed with, because only modules that are loaded can be compared."""
    for part in ("engine", "layers", "models", "stats", "stressors", "training"):
        package = import_module(f"{_OWN}.{part}")
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            with suppress(ImportError):  # a library of an extra is missing
                import_module(module.name)
