"""Provider for models from a Python file: ``path/to/file.py:factory``."""

from pathlib import Path
from types import ModuleType

from robustbench_wb.errors import SubjectError, UsageError, error_text
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.models.shape import Shape
from robustbench_wb.spec import digest
from robustbench_wb.user_code import UserCode


def provide(reference: str) -> Factory:
    """Import the file of ``path.py:name`` and return a factory for ``name``: a function, a class or a ready module.

    The code digest covers the file, every module of its own that it imports, and the files that it reads meanwhile.
    What the function imports and reads when it builds the model is in the factory's ``parts``.

    Raises:
        UsageError: the file or function does not exist, or the file cannot be imported.
    """
    path, name = locate(reference)
    siblings: dict[str, ModuleType] = {}
    from robustbench_wb.models.providers.maker import as_maker  # imports torch, whose settings are put back then

    code = UserCode(reference)
    written = getattr(_execute(path, siblings, code), name, None)
    if written is None:
        raise UsageError(f"{path} has no function {name!r}")
    function = as_maker(written, reference)
    folder = path.parent
    module = f"{folder.name}.{path.stem}" if (folder / "__init__.py").is_file() else path.stem

    def make(shape: Shape) -> object:
        with watch.space.active():
            return function(shape)

    # Two functions of one file are different models.
    return Factory(
        reference=reference,
        code_digest=digest({"code": code_digest(module, root=folder), "function": name}),
        make=make,
        code=code,
    )


def locate(reference: str) -> tuple[Path, str]:
    """File and name of ``path.py:name``. The file is not run.

    Raises:
        UsageError: the reference is malformed, or the file does not exist or cannot be imported by its name.
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
    return path, name


def _execute(path: Path, siblings: dict[str, ModuleType], code: UserCode) -> ModuleType:
    # Files of different users may have equal names, so the module name is derived from the path.
    package = ModuleType(f"_robustbench_wb_external_{sha256(str(path).encode()).hexdigest()[:16]}")
    package.__path__ = [str(path.parent)]  # relative imports find the files beside this one
    name = f"{package.__name__}.{path.stem}"
    module = ModuleType(name)
    module.__file__, module.__package__ = str(path), package.__name__
    # Dataclasses and pickle look a class's module up there.
    sys.modules.update({package.__name__: package, name: module})
    try:
        # Compiled from source: Python's bytecode cache compares date and size, so it can miss a quick edit.
        with code.running(), _importing(path.parent, siblings):
            exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    except Exception as error:
        for known in (package.__name__, name):
            sys.modules.pop(known, None)
        if isinstance(error, SyntaxError):
            raise UsageError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
        cause = (error.__cause__ or error) if isinstance(error, SubjectError) else error
        raise UsageError(f"{path} cannot be imported: {error_text(cause)}") from error
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
