"""One model of another package, through the entry-point group ``robustbench_wb.subjects``."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from robustbench_wb.errors import RegistryError
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.registry import Registry
from robustbench_wb.source import code_digest


def provide(subjects: Registry[Callable[..., object]], name: str) -> Factory:
    """The plug-in's function of that name. The identity covers the module that it lies in and what that imports.

    Raises:
        RegistryError: a variant has the same name, the function does not import, or its source cannot be found.
    """
    if name in VARIANTS:
        raise RegistryError(f"subject {name!r} of a plug-in has the name of a variant; uninstall or rename one")
    make = subjects.get(name)
    module = next(entry.target for entry in subjects if entry.name == name).partition(":")[0]
    spec = find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise RegistryError(f"the source of plug-in {module} cannot be found, so its identity cannot be told")
    return Factory(name, code_digest(module, root=Path(spec.origin).resolve().parent), make)
