"""Identity of what a module in memory computes, apart from its weights: code, structure and plain attributes."""

from torch import nn

from robustbench_wb import source
from robustbench_wb.models.live_code import LiveCode
from robustbench_wb.models.plain_values import UndigestedError as UndigestedError
from robustbench_wb.models.plain_values import plain_value
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.spec import digest

_STATE = {"_parameters", "_buffers", "_modules", "training", "_non_persistent_buffers_set"}


def module_digest(module: nn.Module) -> str:
    """SHA-256 (hex) of ``module_parts``.

    Raises:
        UndigestedError: see ``module_parts``.
    """
    return digest(module_parts(module))


def module_parts(module: nn.Module) -> dict[str, str]:
    """Digests of the code behind a module, by name, and of its structure and its attributes.

    The code is that of every class and function that the module holds, and of what these reach. Code of the user and of
    this package counts by its syntax and its imports, code of libraries by their release. Parameters and persistent
    buffers are left out: they are the weights.

    Raises:
        UndigestedError: a class comes from a notebook or a function, there are hooks, code differs from its source
            file, or an attribute, or a global variable that the code uses, is not plain.
    """
    source.forget()  # files may have been edited since the last run of this process
    code = LiveCode()
    persistent = set(module.state_dict())
    parts = [
        {"path": path, "class": code.name(type(part)), "attributes": _attributes(part, path or "the model", code)}
        for path, part in module.named_modules()
    ]
    hidden = {name: buffer for name, buffer in module.named_buffers() if name not in persistent}
    attributes = {"parts": parts, "buffers": weights_digest(hidden)}
    return {"structure and attributes": digest(attributes), **code.digests()}


def _attributes(part: nn.Module, path: str, code: LiveCode) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in vars(part).items():
        if name in _STATE:
            continue
        if name.startswith("_") and name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
            if value:
                raise UndigestedError(f"{path} has hooks")
            continue
        found[name] = plain_value(value, f"{path}.{name}", code)
    return found
