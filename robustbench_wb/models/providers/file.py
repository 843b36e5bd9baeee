"""Somebody's own model, from a file: ``path/to/file.py:factory``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from robustbench_wb.errors import UsageError
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.models.shape import Shape
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest


def provide(reference: str) -> Factory:
    """Import the file of ``path.py:name`` and take the function of that name from it.

    The identity covers the file and what it imports from its own folder.

    Raises:
        UsageError: no such file or function, or the file does not import.
    """
    head, found, name = reference.rpartition(".py:")
    path = Path(f"{head}.py").expanduser()
    if not found or not head or not name.isidentifier():
        raise UsageError(f"{reference!r} is not a file and a function; write it like 'model.py:make'")
    if not path.is_file():
        raise UsageError(f"{path} does not exist; {reference!r} needs a file")
    path = path.resolve()
    if "." in path.stem:
        raise UsageError(f"{path.name} cannot be imported by name; rename it without the dot")
    siblings: dict[str, ModuleType] = {}
    function = getattr(_execute(path, siblings), name, None)
    if function is None:
        raise UsageError(f"{path} has no function {name!r}")
    if not callable(function):
        raise UsageError(f"{name!r} in {path} is a {type(function).__name__}, not a function that makes a model")
    folder = path.parent
    module = f"{folder.name}.{path.stem}" if (folder / "__init__.py").is_file() else path.stem

    def make(shape: Shape) -> object:
        with _importing(folder, siblings):
            return function(shape)

    # Two functions of one file are two models.
    return Factory(reference, digest({"code": code_digest(module, root=folder), "function": name}), make)


def _execute(path: Path, siblings: dict[str, ModuleType]) -> ModuleType:
    # Two users' files may have one name; the path tells them apart.
    name = f"_robustbench_wb_external_{sha256(str(path).encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    try:
        # Compiled from its bytes: Python's bytecode cache goes by date and size, and misses a quick edit.
        with _importing(path.parent, siblings):
            exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    except SyntaxError as error:
        sys.modules.pop(name, None)
        raise UsageError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise UsageError(f"{path} does not import: {type(error).__name__}: {error}") from error
    return module


@contextmanager
def _importing(folder: Path, siblings: dict[str, ModuleType]) -> Iterator[None]:
    """Let imports find the files beside the user's file, and only for as long as this lasts.

    Modules from the folder are moved out to ``siblings`` again: another user's ``helper.py`` must not be
    mistaken for this one.
    """
    before, bytecode = set(sys.modules), sys.dont_write_bytecode
    entry = str(folder)
    sys.path.insert(0, entry)
    sys.modules.update(siblings)
    sys.dont_write_bytecode = True  # leave no folder behind in somebody else's project
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        sys.path.remove(entry)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if name in siblings or (origin and Path(origin).is_relative_to(folder)):
                siblings[name] = sys.modules.pop(name)
