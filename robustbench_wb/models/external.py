"""Somebody's own model, from a file: ``path/to/file.py:factory``."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from robustbench_wb.errors import SubjectError, UsageError
from robustbench_wb.models.shape import Shape
from robustbench_wb.source import code_digest

if TYPE_CHECKING:
    from torch import nn


def is_external(reference: str) -> bool:
    """Whether a variant's name is a reference to a file."""
    return ".py:" in reference


@dataclass(frozen=True)
class Factory:
    """A user's function that makes a model: images in [0, 1] or token ids, to logits (B, classes).

    ``code_digest`` covers the file and what it imports from its own folder.
    """

    reference: str
    path: Path
    code_digest: str
    make: Callable[[Shape], object] = field(repr=False)
    siblings: dict[str, ModuleType] = field(repr=False, compare=False)

    def __call__(self, shape: Shape) -> "nn.Module":
        """The model for inputs and classes of this shape.

        Raises:
            SubjectError: the function raised, or returned something else than a module.
        """
        from torch import nn

        try:
            with _importing(self.path.parent, self.siblings):
                model = self.make(shape)
        except (Exception, SystemExit) as error:
            raise SubjectError(f"{self.reference} raised {type(error).__name__}: {error}") from error
        if not isinstance(model, nn.Module):
            raise SubjectError(f"{self.reference} returned a {type(model).__name__}; it must return a torch.nn.Module")
        return model


def load_factory(reference: str) -> Factory:
    """Import the file of ``path.py:name`` and take the function of that name from it.

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
    make = getattr(_execute(path, siblings), name, None)
    if make is None:
        raise UsageError(f"{path} has no function {name!r}")
    if not callable(make):
        raise UsageError(f"{name!r} in {path} is a {type(make).__name__}, not a function that makes a model")
    folder = path.parent
    module = f"{folder.name}.{path.stem}" if (folder / "__init__.py").is_file() else path.stem
    return Factory(reference, path, code_digest(module, root=folder), make, siblings)


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
