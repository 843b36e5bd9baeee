"""Source files that import statements name, also those that have not run yet: an import may wait for training."""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from robustbench_wb.models.installed import is_own_file
from robustbench_wb.syntax import SourceFile


def imported_files(
    files: Iterable[Path], search: Sequence[str | Path], is_own: Callable[[str], bool] = lambda top: True
) -> dict[Path, str]:
    """Every own source file that import statements in some files name, directly or through each other.

    Args:
        files: source files to begin with.
        search: folders in which absolute imports are looked up, in order.
        is_own: whether a top-level name may mean something else than a library.

    Returns:
        The module name, as it is written in an import statement, by file. The files to begin with are left out.
    """
    waiting, begun = list(files), set(files)
    found: dict[Path, str] = {}
    while waiting:
        path = waiting.pop()
        for name, folders in _imports(path, search, is_own):
            for module, file in _modules(name, folders):
                if file not in begun:
                    begun.add(file)
                    found[file] = module
                    waiting.append(file)
    return found


def _imports(
    path: Path, search: Sequence[str | Path], is_own: Callable[[str], bool]
) -> Iterator[tuple[str, Sequence[str | Path]]]:
    """Dotted names that a file imports, each with the folders in which it is looked up."""
    try:
        nodes = SourceFile(path.read_bytes(), "", False).nodes
    except (OSError, SyntaxError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, search) for alias in node.names if is_own(alias.name.partition(".")[0]))
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level or is_own(module.partition(".")[0]):
                folders = [path.parents[node.level - 1]] if 0 < node.level <= len(path.parents) else search
                yield from ((f"{module}.{alias.name}".strip("."), folders) for alias in node.names)


def _modules(name: str, folders: Sequence[str | Path]) -> Iterator[tuple[str, Path]]:
    """The modules that ``import a.b.c`` runs: ``a``, ``a.b`` and ``a.b.c``, as far as they are own source files."""
    parts = name.split(".")
    for folder in folders:
        base = Path(folder).resolve() / parts[0]
        if not base.is_dir() and not base.with_name(f"{parts[0]}.py").is_file():
            continue
        for end in range(1, len(parts) + 1):
            place = Path(folder).resolve().joinpath(*parts[:end])
            for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
                if is_own_file(str(file)):
                    yield ".".join(parts[:end]), file
                    break
        return
