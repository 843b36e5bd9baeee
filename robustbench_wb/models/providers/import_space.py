"""Imports of one user's model: its own modules are loaded from source for it alone, and libraries are shared.

Every model file has a space of its own. A module of the space never meets a module of the same name that another file,
or the calling program, has imported; the space is also the list of the code that the model was made by.
"""

import builtins
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib import invalidate_caches
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import count
from pathlib import Path
from threading import RLock
from types import CodeType, ModuleType

from robustbench_wb.models.installed import (
    is_library_file,
    is_library_module,
    is_own_file,
    is_own_module,
    library_roots,
)
from robustbench_wb.models.static_imports import imported_files
from robustbench_wb.source import source_digest

PREFIX = "_robustbench_wb_external_"
_NEVER_OWN = ("torch", "numpy", "robustbench_wb")
"""Libraries that a model file always means, even if a file beside it has the same name."""
_lock = RLock()
_libraries: dict[str, ModuleType] = {}
"""Loaded modules that are known to be of libraries."""
_numbers = count()


class ImportSpace:
    """The modules that one model file brings.

    Names are looked up as Python does for a script: a file beside the model file comes before a library of the same
    name, except for torch and numpy, and except for the name of the model file itself. In a folder that is a package
    (it has an ``__init__.py``) the library comes first. Only imports by the space's own modules are concerned.

    Args:
        file: the model file; None for a plug-in, which is found on ``sys.path``.
    """

    def __init__(self, file: Path | None) -> None:
        self.file, self.folder = file, file.parent if file is not None else None
        self.sources: dict[Path, tuple[str, str]] = {}
        """Label and digest of the code of each module that was loaded, by its file."""
        self.libraries: set[str] = set()
        """Top-level names of the libraries that the loaded modules import."""
        self.harness: set[str] = set()
        """Names in this package that the loaded modules import."""
        self._modules: dict[str, ModuleType] = {}
        self._named_like_libraries: dict[str, dict[str, ModuleType]] = {}
        self._claims: list[tuple[str, dict[str, ModuleType]]] = []
        self._path = list(sys.path)
        invalidate_caches()  # a file may be seconds old
        self._depth = 0
        self._before: tuple[dict[str, ModuleType], list[str], bool] = ({}, [], False)
        self._finder = _Finder(self)
        self._own: dict[str, bool] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}
        self._root = _package_root(self.folder) if self.folder is not None else None
        self._alias = f"{PREFIX}package_{next(_numbers)}"

    def execute(self, file: Path) -> ModuleType:
        """Execute the model file itself, under a name that no other module has.

        Raises:
            Exception: whatever the file raises; the module is unknown to Python then.
        """
        name = f"{PREFIX}{sha256(str(file).encode()).hexdigest()[:16]}"
        module = ModuleType(name)
        module.__file__ = str(file)
        below = file.parent.relative_to(self._root).parts if self._root is not None else ()
        module.__package__ = ".".join([self._alias, *below])
        sys.modules[name] = module  # dataclasses and pickle look a class's module up there
        try:
            with self.active():
                vars(module)["__builtins__"] = self._builtins
                exec(self.compiled(name, file), vars(module))
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    def compiled(self, name: str, file: Path) -> CodeType:
        """Compile a file, and note what it does. Python's bytecode cache can miss a quick edit and is not used.

        Raises:
            OSError: the file cannot be read.
            SyntaxError: it is not Python.
        """
        code = file.read_bytes()
        made = compile(code, file, "exec", dont_inherit=True)
        self.sources[file] = (self.label(name, file), source_digest(code))
        return made

    def label(self, name: str, file: Path) -> str:
        """Name of a file for the user: its path from the model file if it lies there, else ``name``."""
        inside = self.folder is not None and file.is_relative_to(self.folder)
        return file.relative_to(self.folder).as_posix() if inside and self.folder is not None else name

    def named(self) -> dict[str, str]:
        """Digest of each module that import statements of the loaded modules name without having run, by label."""
        search: list[str | Path] = [*([self.folder] if self.folder is not None else []), *self._path]
        files = [file for file in self.sources if file.suffix == ".py"]
        found = imported_files(files, search, self.is_own)
        return {self.label(name, file): source_digest(file.read_bytes()) for file, name in found.items()}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the modules of this space importable inside this context, and no own modules of anybody else.

        On exit, ``sys.modules``, ``sys.path`` and ``sys.meta_path`` are as they were, but for new libraries.
        """
        with _lock:  # not held while the user's code runs: it may wait for a thread of its own that imports
            if not self._depth:
                self._enter()
            self._depth += 1
        try:
            yield
        finally:
            with _lock:
                self._depth -= 1
                if not self._depth:
                    self._leave()

    def _enter(self) -> None:
        self._before = (_take_own(), list(sys.path), sys.dont_write_bytecode)
        sys.modules.update(self._modules)
        sys.path[:] = self._path
        sys.meta_path.insert(0, self._finder)
        sys.dont_write_bytecode = True  # create no __pycache__ folder in the user's project

    def _leave(self) -> None:
        self._path, self._modules = list(sys.path), _take_own()
        hidden, sys.path[:], sys.dont_write_bytecode = self._before
        sys.modules.update(hidden)
        sys.meta_path.remove(self._finder)  # others stay: libraries add some when they are imported
        for name, module in self._modules.items():  # an import hook of the user may have loaded it
            file = vars(module).get("__file__")
            if isinstance(file, str) and Path(file).resolve() not in self.sources:
                with suppress(OSError, SyntaxError):
                    self.compiled(name, Path(file).resolve())

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """The import statement, as the modules of this space have it."""
        top = name.partition(".")[0]
        if level == 0 and not self.is_own(top):
            with self._without_claims():
                found = builtins.__import__(name, globals, locals, fromlist or (), level)
            wanted = [item for item in fromlist or () if item != "*"]
            if all(hasattr(found, item) for item in wanted) or self.beside(top) is None:
                self.libraries.add(top)
                if top == "robustbench_wb":
                    self.harness |= {name, *(f"{name}.{item}" for item in wanted)}
                return found
        with self.active(), self._claimed("" if level else top):
            found = builtins.__import__(name, globals, locals, fromlist or (), level)
            self._note_compiled([name, found.__name__, *(f"{found.__name__}.{item}" for item in fromlist or ())])
            return found

    def _note_compiled(self, names: Sequence[str]) -> None:
        """Note the bytes of modules that have no source. Python loads them once, for all spaces."""
        for name in names:
            file = getattr(sys.modules.get(name), "__file__", None)
            if (
                isinstance(file, str)
                and Path(file).is_file()
                and not file.endswith(".py")
                and not is_library_file(file)
            ):
                self.sources[Path(file)] = (name, sha256(Path(file).read_bytes()).hexdigest())

    def is_own(self, top: str) -> bool:
        """Whether a top-level name means a module of this space rather than a library."""
        if top not in self._own:
            beside, library = self.beside(top), _is_library(top)
            script = self.folder is None or not (self.folder / "__init__.py").is_file()
            free = script and top not in _NEVER_OWN and (self.file is None or top != self.file.stem)
            self._own[top] = not library or (beside is not None and free)
        return self._own[top]

    def beside(self, top: str) -> ModuleSpec | None:
        """The module or package of this name beside the model file."""
        return PathFinder.find_spec(top, [str(self.folder)]) if self.folder is not None else None

    @contextmanager
    def _claimed(self, top: str) -> Iterator[None]:
        """Let ``top`` mean the file beside the model file, though a library has that name; nothing for other names."""
        if not top or not _is_library(top) or any(top == other for other, _ in self._claims):
            yield
            return
        self._claims.append((top, _take_named(top)))
        sys.modules.update(self._named_like_libraries.get(top, {}))
        try:
            yield
        finally:
            self._named_like_libraries[top] = _take_named(top)
            sys.modules.update(self._claims.pop()[1])

    @contextmanager
    def _without_claims(self) -> Iterator[None]:
        """Let every claimed name mean the library: a library that is imported imports libraries."""
        own = {top: _take_named(top) for top, _ in self._claims}
        claims, self._claims = self._claims, []
        for _, hidden in claims:
            sys.modules.update(hidden)
        try:
            yield
        finally:
            self._claims = [(top, _take_named(top)) for top, _ in claims]
            for modules in own.values():
                sys.modules.update(modules)

    def find(self, name: str, path: Sequence[str] | None, others: Sequence[object]) -> ModuleSpec | None:
        """The specification of a module, with a loader of this space if the module is not of a library."""
        if path is None and name == self._alias and self._root is not None:
            return self._loaded(_package_spec(name, self._root), name)
        if path is None and any(name == top for top, _ in self._claims):
            return self._loaded(self.beside(name), name)
        found: ModuleSpec | None = None
        for finder in others:
            search: Callable[..., ModuleSpec | None] | None = getattr(finder, "find_spec", None)
            found = search(name, path, None) if search is not None else None
            if found is not None:
                break
        if path is None and (found is None or (self.beside(name) is not None and not _is_library(name))):
            found = self.beside(name) or found or self._package(name)
        return self._loaded(found, name)

    def _package(self, name: str) -> ModuleSpec | None:
        """The package that holds the model file, by its own name."""
        known = self._root is not None and name == self._root.name
        return PathFinder.find_spec(name, [str(self._root.parent)]) if known and self._root is not None else None

    def _loaded(self, spec: ModuleSpec | None, name: str) -> ModuleSpec | None:
        if spec is None or spec.origin is None or not is_own_file(spec.origin):
            return spec
        folders = spec.submodule_search_locations
        loader = _Loader(self, name, spec.origin)
        return spec_from_file_location(name, spec.origin, loader=loader, submodule_search_locations=folders)


class _Finder:
    """Entry of ``sys.meta_path`` that asks a space first."""

    def __init__(self, space: ImportSpace) -> None:
        self._space = space

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of a module; None if nobody knows it."""
        return self._space.find(name, path, [finder for finder in sys.meta_path if finder is not self])


class _Loader(SourceFileLoader):
    """Loads a module of a space from its source."""

    def __init__(self, space: ImportSpace, name: str, file: str) -> None:
        super().__init__(name, file)
        self._space = space

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source, never the bytecode cache."""
        return self._space.compiled(fullname, Path(self.path).resolve())

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module with the import statement of the space."""
        vars(module)["__builtins__"] = self._space._builtins
        super().exec_module(module)


def _package_root(folder: Path) -> Path:
    """Outermost folder of the package that ``folder`` is in; the folder itself if it is no package."""
    root = folder
    while (root / "__init__.py").is_file() and (root.parent / "__init__.py").is_file():
        root = root.parent
    return root


def _package_spec(name: str, root: Path) -> ModuleSpec | None:
    if (root / "__init__.py").is_file():
        return spec_from_file_location(name, root / "__init__.py", submodule_search_locations=[str(root)])
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(root)]
    return spec


def _is_library(top: str) -> bool:
    """Whether an installed library, or the standard library, has the top-level module ``top``."""
    if top in sys.stdlib_module_names or top == "robustbench_wb":
        return True
    if is_library_module(sys.modules.get(top)):
        return True
    found = PathFinder.find_spec(top, [str(root) for root in library_roots()])
    return found is not None and (found.origin is not None or found.submodule_search_locations is not None)


def _take_own() -> dict[str, ModuleType]:
    """Take the modules of users out of ``sys.modules``."""
    # There are thousands of modules of libraries: each is examined once.
    unknown = [(name, module) for name, module in sys.modules.items() if _libraries.get(name) is not module]
    own = [name for name, module in unknown if is_own_module(module) and not name.startswith((PREFIX, "__main__"))]
    _libraries.update((name, module) for name, module in unknown if is_library_module(module))
    return {name: sys.modules.pop(name) for name in own}


def _take_named(top: str) -> dict[str, ModuleType]:
    """Take a top-level module and all below it out of ``sys.modules``."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == top}
