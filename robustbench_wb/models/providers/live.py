"""A module in memory as a model of a run."""

from copy import deepcopy
from uuid import uuid4

from torch import nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.module_digest import UndigestedError, module_parts
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.spec import digest


def live_factory(name: str, module: nn.Module) -> Factory:
    """A factory that copies a module. Weights are digested apart, as for every model.

    A module whose code or attributes cannot be digested gets an identity that occurs once: its records are never
    reused, and a note says why.

    Raises:
        UsageError: it is no module.
    """
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise UsageError(f"variants: {name!r} is a {kind}; a model in memory is a torch.nn.Module", "variants")
    notes: tuple[str, ...] = ()
    parts: dict[str, str] = {}
    try:
        parts = module_parts(module)
        code = digest(parts)
    except (UndigestedError, RecursionError) as error:
        code = uuid4().hex
        notes = (f"{name}: measured anew in every run, because {error}",)
    return Factory(
        reference=name,
        code_digest=code,
        make=lambda shape: deepcopy(module),
        parts=lambda: parts,
        lasting=not notes,
        notes=notes,
    )
