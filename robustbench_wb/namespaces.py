"""Namespaces of modules and classes, whose functions code of users may replace: kept, compared and put back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, lru_cache
from importlib import import_module
from itertools import chain
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
_IMMUTABLE: Final = 1 << 8
"""Bit of ``type.__flags__`` (Py_TPFLAGS_IMMUTABLETYPE, since Python 3.10)."""
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


class Snapshot(NamedTuple):
    """Names of several namespaces and their values, one namespace after the other."""

    sizes: list[int]
    """Number of names of each namespace."""
    names: list[str]
    values: list[object]


class Namespaces:
    """Modules and classes, whose thousands of names are read and compared in one go, which takes milliseconds."""

    def __init__(self, owners: list[Any]) -> None:
        self.owners = owners
        spaces = [vars(owner) for owner in owners]
        self._keys, self._views = [space.keys() for space in spaces], [space.values() for space in spaces]
        self._snapshot = Snapshot([], [], [])

    def snapshot(self) -> Snapshot:
        """All names with their present values."""
        if not self.equal(self._snapshot):
            names = [*chain.from_iterable(self._keys)]
            self._snapshot = Snapshot([*map(len, self._keys)], names, [*chain.from_iterable(self._views)])
        return self._snapshot

    def equal(self, before: Snapshot) -> bool:
        """Whether all values are those of an earlier snapshot."""
        same = map(is_, chain.from_iterable(self._views), before.values)  # a value may claim to equal another one
        return [*map(len, self._keys)] == before.sizes and all(same)


class KeptNamespaces:
    """Names of modules and classes with their values, as they are when this object is made.

    Args:
        spaces: the modules and classes.
        code_only: whether values that are no functions or classes are left alone.
    """

    def __init__(self, spaces: Namespaces, *, code_only: bool = False) -> None:
        self._spaces, self._before, self._code_only = spaces, spaces.snapshot(), code_only

    def put_back(self) -> Iterator[Replaced]:
        """Put back replaced and deleted names, and yield what replaced them.

        Names that are new stay, because libraries load their parts late, unless they hide one of a base class.
        """
        if self._spaces.equal(self._before):
            return
        start = 0
        for owner, size in zip(self._spaces.owners, self._before.sizes, strict=True):
            part = slice(start, start + size)
            yield from self._differences(
                owner, dict(zip(self._before.names[part], self._before.values[part], strict=True))
            )
            start += size

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


def own_owners() -> Namespaces:
    """Modules and classes of this package that are loaded."""
    return _with_classes(_loaded(_is_own, len(sys.modules)))


def library_owners() -> Namespaces:
    """Public modules and classes of the libraries that numbers are computed with."""
    return _with_classes(_loaded(_is_public, len(sys.modules)))


@cache
def _is_own(name: str) -> bool:
    return name.partition(".")[0] == _OWN


@cache
def _is_public(name: str) -> bool:
    parts = name.split(".")
    return parts[0] in _LIBRARIES and len(parts) <= _DEPTH and not any(part.startswith("_") for part in parts)


@lru_cache(maxsize=8)
def _loaded(wanted: Callable[[str], bool], count: int) -> tuple[tuple[str, ModuleType, int], ...]:
    """Loaded modules whose names are wanted, with their numbers of names. ``count`` is the number of all modules."""
    modules: list[tuple[str, object]] = [(name, module) for name, module in [*sys.modules.items()] if wanted(name)]
    return tuple((name, module, len(vars(module))) for name, module in modules if isinstance(module, ModuleType))


@lru_cache(maxsize=4)
def _with_classes(modules: tuple[tuple[str, ModuleType, int], ...]) -> Namespaces:
    """Modules, and the classes of the same libraries that they hold.

    Classes whose attributes cannot be set, as those of C code, are left out: nobody can replace anything there.
    """
    found: dict[int, Any] = {}
    for name, module, _ in modules:
        found[id(module)] = module
        top = name.partition(".")[0]
        for value in list(vars(module).values()):
            # Not isinstance, which reads attributes: a deprecated object would warn.
            is_class = issubclass(type(value), type) and not value.__flags__ & _IMMUTABLE
            if is_class and str(value.__module__).partition(".")[0] == top:
                found[id(value)] = value
    return Namespaces(list(found.values()))


@cache
def load_own_code() -> None:
    """Import all modules that numbers are computed with, because only modules that are loaded can be compared."""
    for part in ("engine", "layers", "models", "stats", "stressors", "training"):
        package = import_module(f"{_OWN}.{part}")
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            with suppress(ImportError):  # a library of an extra is missing
                import_module(module.name)
