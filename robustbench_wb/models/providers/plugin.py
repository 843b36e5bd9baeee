"""One model of another package, through the entry-point group ``robustbench_wb.subjects``."""

from collections.abc import Callable

from robustbench_wb.errors import RegistryError
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.registry import Registry
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest


def provide(subjects: Registry[Callable[..., object]], name: str) -> Factory:
    """The plug-in's function of that name. The identity covers the module that it lies in and what that imports.

    Raises:
        RegistryError: a variant has the same name, the function does not import, or its source cannot be found.
    """
    if name in VARIANTS:
        raise RegistryError(f"subject {name!r} of a plug-in has the name of a variant; uninstall or rename one")
    module, root = subjects.source(name)
    # Two entries of one module are two models.
    return Factory(name, digest({"code": code_digest(module, root=root), "entry": name}), subjects.get(name))
