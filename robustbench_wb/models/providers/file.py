"""Provider for models from a Python file: ``path/to/file.py:factory``."""

from pathlib import Path
from types import ModuleType

from robustbench_wb.errors import UsageError
from robustbench_wb.models.providers.code_watch import CodeWatch
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.models.shape import Shape
from robustbench_wb.spec import digest


def provide(reference: str) -> Factory:
    """Import the file of ``path.py:name`` and return a factory that calls its function ``name``.

    The code digest covers the file, every module of its own that it imports, and the files that it reads meanwhile.
    What the function imports and reads when it builds the model is in the factory's ``parts``.

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
    watch = CodeWatch(path)
    with watch.running():
        function = getattr(_execute(path, watch), name, None)
    if function is None:
        raise UsageError(f"{path} has no function {name!r}")
    if not callable(function):
        raise UsageError(f"{name!r} in {path} is a {type(function).__name__}, not a function that returns a model")

    def make(shape: Shape) -> object:
        with watch.space.active():
            return function(shape)

    # Two functions of one file are different models.
    return Factory(
        reference=reference,
        code_digest=digest({"code": watch.parts(), "function": name}),
        make=make,
        running=watch.running,
        parts=watch.parts_when_built,
    )


def _execute(path: Path, watch: CodeWatch) -> ModuleType:
    try:
        return watch.space.execute(path)
    except SyntaxError as error:
        raise UsageError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
