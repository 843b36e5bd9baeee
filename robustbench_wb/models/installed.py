"""Distinction of installed, versioned libraries from code that somebody may edit: own files and editable installs."""

import site
import sys
import sysconfig
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from robustbench_wb.source import PACKAGE_ROOT


@cache
def library_roots() -> tuple[Path, ...]:
    """Folders of the standard library and of installed packages. Editable installs lie elsewhere."""
    found = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    # An installation in a folder of PYTHONPATH: whatever lies beside torch is installed as torch is.
    specs = [find_spec(name) for name in ("torch", "numpy", "pydantic")]  # importing torch takes seconds
    found += [str(Path(spec.origin).parents[1]) for spec in specs if spec is not None and spec.origin is not None]
    return tuple({Path(folder).resolve() for folder in found if folder})


@cache
def is_library_file(file: str) -> bool:
    """Whether a file belongs to an installed library, to the standard library, or to this package."""
    path = Path(file).resolve()
    return path.is_relative_to(PACKAGE_ROOT) or any(path.is_relative_to(root) for root in library_roots())


@cache
def is_own_file(file: str) -> bool:
    """Whether a file is Python source outside of all libraries. Some modules of torch name a file that is not there."""
    path = Path(file)
    return path.suffix == ".py" and path.is_absolute() and path.is_file() and not is_library_file(file)


def is_library_module(module: object) -> bool:
    """Whether a loaded module has a file that belongs to a library or to this package."""
    file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    return isinstance(file, str) and is_library_file(file)


def is_own_module(module: object) -> bool:
    """Whether a loaded module is source code outside of all libraries, or a package without a file around such code."""
    if not isinstance(module, ModuleType):
        return False
    names = vars(module)  # an attribute might be made when it is asked for
    file, folders = names.get("__file__"), names.get("__path__")
    if isinstance(file, str):
        return is_own_file(file)
    if file is not None or folders is None:
        return False
    places = [place for place in folders if isinstance(place, str)]
    return bool(places) and not any(is_library_file(place) for place in places)


@cache
def library_release(name: str) -> str | None:
    """Name and version of the distribution with the top-level module ``name``; None if no distribution has it.

    The version of the standard library is that of Python.
    """
    if name in sys.stdlib_module_names:
        return f"python-{sys.version.partition(' ')[0]}"
    try:
        return f"{name}-{version(name)}"
    except PackageNotFoundError:  # the distribution has another name
        roots = [str(root) for root in library_roots()]
    for found in distributions(path=roots):
        names, files = found.read_text("top_level.txt") or "", found.read_text("RECORD") or ""
        if name in names.split() or any(f"\n{start}" in f"\n{files}" for start in (f"{name}/", f"{name}.py,")):
            return f"{found.name}-{found.version}"
    return None
