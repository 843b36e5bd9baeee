"""Comparison of code in memory with its source file: an edited file or a replaced method has no identity."""

import dataclasses
import functools
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType


def is_as_written(thing: type | FunctionType, path: Path) -> bool:
    """Whether a function, or every method of a class, is what its source file compiles to.

    False if the file was edited after it was imported, or if a method was replaced at run time.

    Raises:
        OSError: the file cannot be read.
        SyntaxError: the file does not compile.
    """
    stamp = path.stat()
    written = _compiled(path, stamp.st_mtime_ns, stamp.st_size)
    return all(function.__code__ in written for function in _functions(thing))


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


def _functions(thing: type | FunctionType) -> Iterator[FunctionType]:
    """Functions of a class body without decorators, or a function itself."""
    if isinstance(thing, FunctionType):
        yield _undecorated(thing)
        return
    generated = dataclasses.is_dataclass(thing)
    for member in vars(thing).values():
        inner = getattr(member, "__func__", None) or getattr(member, "func", None)  # class, static or cached methods
        parts = (member.fget, member.fset, member.fdel) if isinstance(member, property) else (inner or member,)
        for part in parts:
            if isinstance(part, FunctionType):
                function = _undecorated(part)
                if not (generated and function.__code__.co_filename == "<string>"):  # written by dataclasses
                    yield function


def _undecorated(function: FunctionType) -> FunctionType:
    inner = inspect.unwrap(function)
    return inner if isinstance(inner, FunctionType) else function
