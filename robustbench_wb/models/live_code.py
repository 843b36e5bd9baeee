"""The code that classes and functions in memory run: their modules, what these import, and the globals they use."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType

from robustbench_wb.models.installed import is_own_file, is_own_module, library_release
from robustbench_wb.models.loaded_code import functions_of, is_as_written, members_of
from robustbench_wb.models.plain_values import UndigestedError, plain_value
from robustbench_wb.models.static_imports import imported_files
from robustbench_wb.source import PACKAGE_ROOT, code_digest, source_digest
from robustbench_wb.spec import digest
from robustbench_wb.syntax import SourceFile

_WITHOUT_NUMBERS = frozenset({"logging", "typing", "threading", "_thread", "warnings", "__future__"})
"""Modules of Python whose objects change no number."""
_DESCRIPTORS = (GetSetDescriptorType, MemberDescriptorType)


def own_sources(names: Iterable[str]) -> dict[str, str]:
    """Digests of the loaded modules of these names, and of what they import, by name; only of modules of no library.

    Raises:
        UndigestedError: a source file cannot be read.
    """
    code = LiveCode()
    for name in names:
        code.note_module(name)
    return code.digests()


class LiveCode:
    """Code behind a module in memory, noted class by class and function by function."""

    def __init__(self) -> None:
        self._sources: dict[str, str] = {}
        self._files: set[Path] = set()
        self._releases: dict[str, str] = {}
        self._harness: set[str] = set()
        self._values: dict[str, object] = {}
        self._seen: set[int] = set()

    def name(self, thing: type | FunctionType) -> str:
        """Qualified name of a class or function; its code, and that of its base classes, is noted.

        Raises:
            UndigestedError: its source has no file of its own, or it was changed at run time.
        """
        if "<lambda>" in thing.__qualname__ or "<locals>" in thing.__qualname__:
            raise UndigestedError(f"{thing.__qualname__} is defined inside a function or as a lambda")
        for kind in thing.__mro__ if isinstance(thing, type) else (thing,):
            self._note(kind)
        return f"{thing.__module__}.{thing.__qualname__}"

    def digests(self) -> dict[str, str]:
        """Digest of each own module and of the globals in use, and release of each library, by name.

        Raises:
            UndigestedError: a source file cannot be found any more.
        """
        found = {**self._sources, **{f"library {name}": release for name, release in self._releases.items()}}
        if self._harness:
            found["robustbench_wb"] = code_digest(*sorted(self._harness))
        if self._values:
            found["global variables"] = digest(self._values)
        return found

    def note_module(self, name: str) -> None:
        """Note the source of a loaded module, if it is of no library, and of the own modules that it imports.

        Raises:
            UndigestedError: a source file cannot be read.
        """
        path = _own_source(name)
        if path is not None:
            self._note_module(name, path)

    def _note(self, thing: type | FunctionType) -> None:
        if id(thing) in self._seen or thing.__module__ in sys.builtin_module_names:
            return
        self._seen.add(id(thing))
        module = sys.modules.get(thing.__module__)
        file = getattr(module, "__file__", None)
        if module is None or file is None or not file.endswith(".py"):
            raise UndigestedError(f"{thing.__qualname__} has no source file (a notebook or an interactive session)")
        path = Path(file).resolve()
        if not is_own_file(str(path)) and not path.is_relative_to(PACKAGE_ROOT):
            self._note_library(thing)
        elif not _unchanged(thing, path):
            raise UndigestedError(f"{thing.__qualname__} in memory differs from its source file; import it again")
        elif path.is_relative_to(PACKAGE_ROOT):
            self._harness.add(thing.__module__)
        else:
            self._note_module(thing.__module__, path)
            if isinstance(thing, type):
                self._note_class_attributes(thing)
            for function in functions_of(thing):
                self._note_function(function)
            for name, member in members_of(thing) if isinstance(thing, type) else [("", thing)]:
                self._note_decorators(f"{thing.__module__}.{thing.__qualname__}.{name}", member)

    def _note_library(self, thing: type | FunctionType) -> None:
        """Note the release of a library. A function that user code put in its place has no release."""
        if isinstance(thing, type) and any(is_own_file(one.__code__.co_filename) for one in functions_of(thing)):
            raise UndigestedError(f"{thing.__qualname__} of {thing.__module__} was changed at run time")
        self._release(thing.__module__)

    def _release(self, module: str) -> None:
        top = module.partition(".")[0]
        release = library_release(top)
        if release is None:
            raise UndigestedError(f"the release of {top} is not known")
        self._releases[top] = release

    def _note_module(self, name: str, path: Path) -> None:
        """Note the source of a module, and of all own modules that it imports or names."""
        if name in self._sources:
            return
        try:
            code = path.read_bytes()
            self._files.add(path)
            self._sources[name] = source_digest(code)
            file = SourceFile(code, name, path.name == "__init__.py")
        except (OSError, SyntaxError) as error:
            raise UndigestedError(f"its source cannot be read: {error}") from error
        for alias in file.aliases:
            for prefix in [*_prefixes(alias.module), *_prefixes(f"{alias.module}.{alias.name}")]:
                self.note_module(prefix)
        for text in file.texts:
            self.note_module(text)
        for other, module in imported_files([path], [*sys.path, path.parent]).items():
            if other not in self._files:  # it is not imported yet
                self._sources.setdefault(module, source_digest(other.read_bytes()))

    def _note_class_attributes(self, kind: type) -> None:
        for name, value in vars(kind).items():
            dunder = name.startswith("__") and name.endswith("__")
            if not dunder and name != "_abc_impl" and not isinstance(value, _DESCRIPTORS) and not _is_function(value):
                self._note_value(f"{kind.__module__}.{kind.__qualname__}.{name}", value)

    def _note_decorators(self, place: str, function: FunctionType) -> None:
        """Note the functions that decorators, or assignments at run time, put in the place of a function of a file."""
        while isinstance(inner := getattr(function, "__wrapped__", None), FunctionType):
            self._note_value(f"{place} (decorated)", function)
            function = inner
        if not is_own_file(function.__code__.co_filename):
            self._values[place] = f"{function.__module__}.{function.__qualname__}"

    def _note_function(self, function: FunctionType) -> None:
        """Note what a function uses beside its arguments: defaults, variables of its surroundings, and globals."""
        if id(function.__code__) in self._seen:
            return
        self._seen.add(id(function.__code__))
        place = f"{function.__module__}.{function.__qualname__}"
        for number, value in enumerate(function.__defaults__ or ()):
            self._note_value(f"{place} default {number}", value)
        for name, value in (function.__kwdefaults__ or {}).items():
            self._note_value(f"{place} default {name}", value)
        names = set(_names(function.__code__))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name != "__class__":
                self._note_value(f"{place} {name}", cell.cell_contents)
        for name in sorted(names & function.__globals__.keys()):
            self._note_global(f"{function.__module__}.{name}", function.__globals__[name], names)

    def _note_global(self, place: str, value: object, names: set[str]) -> None:
        """Note a global variable, and those attributes of an own module that the function may use."""
        if not isinstance(value, ModuleType):
            self._note_value(place, value)
        elif is_own_module(value):
            file = value.__file__
            if file is not None:
                self._note_module(value.__name__, Path(file).resolve())
            for name in sorted(names & vars(value).keys()):
                inner = vars(value)[name]
                if not isinstance(inner, ModuleType):
                    self._note_value(f"{value.__name__}.{name}", inner)

    def _note_value(self, place: str, value: object) -> None:
        if isinstance(value, FunctionType) and ("<locals>" in value.__qualname__ or hasattr(value, "__wrapped__")):
            self._values[place] = _code_text(value.__code__)
            self._note_inner(value)
        elif isinstance(value, BuiltinFunctionType):
            self._values[place] = f"{value.__module__}.{value.__qualname__}"
        elif type(value).__module__.partition(".")[0] not in _WITHOUT_NUMBERS:
            self._values[place] = plain_value(value, place, self)

    def _note_inner(self, function: FunctionType) -> None:
        """Note a function that was made inside another one, as a decorator makes it."""
        path = Path(function.__code__.co_filename)
        if not is_own_file(str(path)):
            self._release(str(function.__globals__.get("__name__")))
        elif not _unchanged(function, path):
            raise UndigestedError(f"{function.__qualname__} in memory differs from its source file; import it again")
        else:
            self._note_module(str(function.__globals__.get("__name__")), path)
            self._note_function(function)


def _is_function(value: object) -> bool:
    return isinstance(value, FunctionType | property | classmethod | staticmethod) or hasattr(value, "func")


def _unchanged(thing: type | FunctionType, path: Path) -> bool:
    try:
        return is_as_written(thing, path)
    except (OSError, SyntaxError) as error:
        raise UndigestedError(f"its source cannot be read: {error}") from error


def _names(code: CodeType) -> Iterator[str]:
    """Names of globals and attributes that a function and the functions inside it use."""
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names(part)


def _code_text(code: CodeType) -> list[object]:
    """What tells a function from others that were made at the same place; lines do not count."""
    constants = [_code_text(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return [code.co_qualname, code.co_code.hex(), list(code.co_names), constants]


def _prefixes(name: str) -> list[str]:
    """``a``, ``a.b`` and ``a.b.c``: importing the last one runs all three."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))] if all(parts) else []


def _own_source(name: str) -> Path | None:
    """Source file of a loaded own module; None for libraries and for what is no loaded module."""
    loaded: Mapping[str, object] = sys.modules
    file = getattr(loaded.get(name), "__file__", None)
    return Path(file).resolve() if isinstance(file, str) and is_own_file(file) else None
