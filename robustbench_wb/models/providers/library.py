"""Functions that the providers of model libraries share: late imports, safety checks and error messages."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from robustbench_wb.errors import UsageError, first_line

_WEIGHTS = frozenset({".safetensors", ".bin", ".pth", ".pt", ".h5", ".msgpack", ".onnx"})


def load_library(name: str, extra: str) -> ModuleType:
    """Import a library that the optional dependency group ``extra`` installs.

    Raises:
        UsageError: the library is not installed (the message names the extra) or cannot be imported.
    """
    try:
        mend_torchvision()
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{extra}: needs {error.name or name}, which is not installed; pip install 'robustbench_wb[{extra}]'"
        ) from error
    except Exception as error:
        raise UsageError(f"{name} is installed but cannot be imported: {first_line(error)}") from error


def mend_torchvision() -> None:
    """Import torchvision, if it is installed, even when its compiled part does not match the installed torch.

    timm and transformers import torchvision, but their models need none of its compiled operators. A CUDA build fails
    beside a CPU build of torch because these operators are missing, so only their registration may fail.
    """
    if "torchvision" in sys.modules or find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        with _missing_operators_allowed():
            import_module("torchvision")


@contextmanager
def _missing_operators_allowed() -> Iterator[None]:
    import torch

    register = torch.library.register_fake

    def lenient(name: Any, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        if function is None:
            return partial(lenient, name, **options)
        try:
            register(name, function, **options)
        except RuntimeError as error:
            if "does not exist" not in str(error):
                raise
        return function

    torch.library.register_fake = lenient
    try:
        yield
    finally:
        torch.library.register_fake = register


def release(name: str) -> str:
    """Return name and installed version of a distribution, such as ``timm-1.0.31``."""
    return f"{name}-{version(name)}"


def flag(reference: str, options: Mapping[str, str], name: str, default: bool) -> bool:
    """Return the value of a provider's only option ``name``, which is true or false.

    Raises:
        UsageError: ``options`` has another key, or the value is neither ``true`` nor ``false``.
    """
    unknown = sorted(options.keys() - {name})
    if unknown:
        raise UsageError(f"{reference} has no option {unknown[0]!r}; it has: {name}")
    value = options.get(name, str(default).lower())
    if value not in ("true", "false"):
        raise UsageError(f"{reference}: {name} is true or false, not {value!r}")
    return value == "true"


def check_folder(folder: Path, reference: str, weights: bool) -> None:
    """Check that a folder holds a configuration and, if ``weights`` are needed, safetensors weights.

    Raises:
        UsageError: ``config.json`` is missing, or weights are missing or stored as a pickle only.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(f"{reference}: {folder} has no config.json; save the model with the library's own function")
    if weights and not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pth", ".pt"))
        what = f"{pickles[0]} is a pickle, which can run code when loaded" if pickles else "it holds no weights"
        raise UsageError(f"{reference}: {what}; save the model as safetensors")


def folder_digest(folder: Path) -> str:
    """SHA-256 (hex) over names and bytes of a folder's files, without weights, which have a digest of their own."""
    sha = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix not in _WEIGHTS and not path.name.startswith("."):
            sha.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return sha.hexdigest()
