"""Provider for models from a Python file: ``path/to/file.py:factory``."""

from pathlib import Path
from types import ModuleType

from robustbench_wb.errors import SubjectError, UsageError, error_text
from robustbench_wb.models.providers.code_watch import CodeWatch
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.models.shape import Shape
from robustbench_wb.namespaces import load_own_code
from robustbench_wb.spec import digest
from robustbench_wb.text_files import is_file
from robustbench_wb.user_code import UserCode


def provide(reference: str) -> Factory:
    """Import the file of ``path.py:name`` and return a factory for ``name``: a function, a class or a ready module.

    The code digest covers the file, every module of its own that it imports, and the files that it reads meanwhile.
    What the function imports and reads when it builds the model is in the factory's ``parts``.

    Raises:
        UsageError: the file or function does not exist, or the file cannot be imported.
    """
    path, name = locate(reference)
    from robustbench_wb.models.providers.maker import as_maker  # imports torch, whose settings are put back then

    load_own_code()
    code, watch = UserCode(reference), CodeWatch(path)
    with watch.running():
        written = getattr(_execute(path, watch, code), name, None)
    if written is None:
        raise UsageError(f"{path} has no function {name!r}")
    function = as_maker(written, reference)

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
    if not is_file(path):
        raise UsageError(f"{path}, named by {reference!r}, does not exist")
    path = path.resolve()
    if "." in path.stem:
        raise UsageError(f"{path.name} cannot be imported because its name contains a dot; rename the file")
    return path, name


def _execute(path: Path, watch: CodeWatch, code: UserCode) -> ModuleType:
    try:
        with code.running():
            return watch.space.execute(path)
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}" if error.filename else str(path)
        raise UsageError(f"{where}: {error.msg}") from error
    except SubjectError as error:
        reason = str(error) if error.__cause__ is None else error_text(error.__cause__)
        raise UsageError(f"{path} cannot be imported: {reason}") from error
    except Exception as error:
        raise UsageError(f"{path} cannot be imported: {error_text(error)}") from error
