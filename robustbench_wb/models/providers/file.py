"""Provider for models from a Python file: ``path/to/file.py:factory``."""

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
    """Import the file of ``path.py:name`` and return a factory that calls its function ``name``.

    The code digest covers the file and everything that it imports from its own folder.

    Raises:
        UsageError: the file or function does not exist, or the file cannot be imported.
    """
    head, found, name = reference.rpartition(".py:")
    path = Path(f"{head}.py").expanduser()
    if not found or not head or not name.isidentifier():
        raise UsageError(f"{reference!r} does not name a file and a function; write, for example, 'model.py:make'")
    if not path.is_file():
        raise UsageError(f"{path}, named by {reference!r}, does not exist")
    path = path.resolve()
    if "." in path.stem:
        raise UsageError(f"{path.name} cannot be imported because its name contains a dot; rename the file")
    siblings: dict[str, ModuleType] = {}
    function = getattr(_execute(path, siblings), name, None)
    if function is None:
        raise UsageError(f"{path} has no function {name!r}")
    if not callable(function):
        raise UsageError(f"{name!r} in {path} is a {type(function).__name__}, not a function that returns a model")
    folder = path.parent
    module = f"{folder.name}.{path.stem}" if (folder / "__init__.py").is_file() else path.stem

    def make(shape: Shape) -> object:
        with _importing(folder, siblings):
            return function(shape)

    # Two functions of one file are different models.
    return Factory(
        reference=reference, code_digest=digest({"code": code_digest(module, root=folder), "function": name}), make=make
    )


def _execute(path: Path, siblings: dict[str, ModuleType]) -> ModuleType:
    # Files of different users may have equal names, so the module name is derived from the path.
    name = f"_robustbench_wb_external_{sha256(str(path).encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    try:
        # Compiled from source: Python's bytecode cache compares date and size, so it can miss a quick edit.
        with _importing(path.parent, siblings):
            exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    except SyntaxError as error:
        sys.modules.pop(name, None)
        raise UsageError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


@contextmanager
def _importing(folder: Path, siblings: dict[str, ModuleType]) -> Iterator[None]:
    """Make the files beside the user's file importable inside this context.

    On exit, modules from the folder are moved from ``sys.modules`` to ``siblings``, so that another file's
    ``helper.py`` cannot be confused with this one.
    """
    before, bytecode = set(sys.modules), sys.dont_write_bytecode
    entry = str(folder)
    sys.path.insert(0, entry)
    sys.modules.update(siblings)
    sys.dont_write_bytecode = True  # create no __pycache__ folder in the user's project
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        sys.path.remove(entry)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if name in siblings or (origin and Path(origin).is_relative_to(folder)):
                siblings[name] = sys.modules.pop(name)
