"""Comparison of code in memory with its source file: an edited file or a replaced method has no identity."""

import dataclasses
import functools
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType

from robustbench_wb.models.installed import is_library_file


def is_as_written(thing: type | FunctionType, path: Path) -> bool:
    """Whether a function, or every method of a class, is what its source file compiles to.

    False if the file was edited after it was imported, or if a method was replaced at run time.

    Raises:
        OSError: the file cannot be read.
        SyntaxError: the file does not compile.
    """
    stamp = path.stat()
    written = _compiled(path, stamp.st_mtime_ns, stamp.st_size)
    if isinstance(thing, type) and thing.__qualname__ not in {code.co_qualname for code in written}:
        return False  # made by exec or type
    return all(function.__code__ in written for function in functions_of(thing))


@functools.lru_cache(maxsize=256)
def _compiled(path: Path, modified: int, size: int) -> frozenset[CodeType]:
    """Code of all functions in a file; ``modified`` and ``size`` tell its versions apart."""
    found: set[CodeType] = set()
    waiting = [compile(path.read_bytes(), str(path), "exec", dont_inherit=True)]
    while waiting:
        nested = [part for part in waiting.pop().co_consts if isinstance(part, CodeType)]
        found.update(nested)
        waiting += nested
    return frozenset(found)


def functions_of(thing: type | FunctionType) -> Iterator[FunctionType]:
    """Functions of a class body without decorators, or a function itself; not those that a library put in the class."""
    if isinstance(thing, FunctionType):
        yield _undecorated(thing)
        return
    generated = dataclasses.is_dataclass(thing) or issubclass(thing, tuple)
    for name, member in members_of(thing):
        function, file = _undecorated(member), _undecorated(member).__code__.co_filename
        # Python itself writes such methods of dataclasses and named tuples.
        written = generated and file == "<string>" and name.startswith("__") and name.endswith("__")
        if not written and not (is_library_file(file) and not is_library_file(_file(thing))):
            yield function


def members_of(thing: type) -> Iterator[tuple[str, FunctionType]]:
    """Functions in a class body as they are, by name: with decorators, and inside of properties."""
    for name, member in vars(thing).items():
        inner = getattr(member, "__func__", None) or getattr(member, "func", None)  # class, static or cached methods
        parts = (member.fget, member.fset, member.fdel) if isinstance(member, property) else (inner or member,)
        yield from ((name, part) for part in parts if isinstance(part, FunctionType))


def _file(thing: type) -> str:
    return str(getattr(sys.modules.get(thing.__module__), "__file__", None))


def _undecorated(function: FunctionType) -> FunctionType:
    inner = inspect.unwrap(function)
    return inner if isinstance(inner, FunctionType) else function
