"""Provider for single models of other packages, from the entry-point group ``robustbench_wb.subjects``."""

from collections.abc import Callable
from typing import cast

from robustbench_wb.errors import RegistryError
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.providers.code_watch import CodeWatch
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.models.shape import Shape
from robustbench_wb.registry import Registry, import_target
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest


def provide(subjects: Registry[Callable[..., object]], name: str) -> Factory:
    """Return the factory of the plug-in called ``name``; its digest covers the plug-in's module and its imports.

    Raises:
        RegistryError: a variant has the same name, the function cannot be imported, or its source cannot be found.
    """
    if name in VARIANTS:
        raise RegistryError(f"the plug-in model {name!r} has the name of a variant; rename or uninstall one of them")
    watch = CodeWatch(None)
    with watch.running():
        function = cast("Callable[..., object]", import_target(subjects.target(name), f"{subjects.kind} {name!r}"))
    code: object = watch.parts()
    if not watch.space.sources:  # an installed package
        module, root = subjects.source(name)
        code = [code, code_digest(module, root=root)]

    def make(shape: Shape) -> object:
        with watch.space.active():
            return function(shape)

    # Two entry points of one module are different models.
    return Factory(
        reference=name,
        code_digest=digest({"code": code, "entry": name}),
        make=make,
        running=watch.running,
        parts=watch.parts_when_built,
    )
