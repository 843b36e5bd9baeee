"""Checkpoints that people bring: files of torch and safetensors, with the names that training scripts write."""

import argparse
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from robustbench_wb.errors import CheckpointError, first_line
from robustbench_wb.models.weights import weights_of
from robustbench_wb.training.checkpoint import load_tensors, load_weights, looks_pickled

NESTED: Final = ("state_dict", "model", "model_state_dict", "net")
"""Names under which training scripts store the weights beside an optimiser and other values."""
PREFIXES: Final = ("model.", "backbone.")
"""Prefixes of the model inside a wrapper of this package."""
_log = logging.getLogger(__name__)


def load_given(model: nn.Module, path: Path) -> None:
    """Put the weights of a file into a model; names and shapes must match exactly.

    A prefix that all names of the file share is removed, and logged. Weights of a model of timm or transformers may
    have the names of the model inside its wrapper; the wrapper then keeps its own mean and deviation.

    Raises:
        CheckpointError: the file cannot be read, or a weight is missing, unknown or has another shape.
    """
    tensors = _weights(read_state(path), path)
    own = weights_of(model)
    fitting, removed = _fitted(tensors, own)
    if removed:
        _log.warning("%s: the prefix %r of all names was removed", path, removed)
    load_weights(model, fitting, path)


def read_state(path: Path) -> Mapping[str, object]:
    """Read the content of a checkpoint file: tensors by name, possibly nested. Code in the file is never run.

    Raises:
        CheckpointError: the file is missing, has neither format, or holds more than tensors and plain values.
    """
    try:
        return load_tensors(path)
    except CheckpointError:
        if not looks_pickled(path):
            raise
    try:
        # Training scripts store their parsed options beside the weights; a Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is rejected: it holds more than tensors and plain values, and loading it could run code; "
            "save its state_dict alone, or convert it to safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a readable torch file: {first_line(error)}") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a mapping from names to weights")
    return state


def _weights(state: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    """Tensors by name, from the top level or from one of the usual nested names."""
    inner = (state.get(name) for name in NESTED)
    nested = next((value for value in inner if isinstance(value, Mapping)), state)
    tensors = {str(name): value for name, value in nested.items() if isinstance(value, Tensor)}
    if not tensors:
        held = ", ".join(sorted(map(str, nested))[:3])
        raise CheckpointError(
            f"checkpoint {path} holds no weights at its top level or in {NESTED[0]!r}; it has: {held}"
        )
    return tensors


def _fitted(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Tensors under the names of the model, and the prefix that was removed from them; unchanged if none fits."""
    found, removed = tensors, ""
    while True:
        for prefix in ("", *PREFIXES):
            inside = {f"{prefix}{name}": tensor for name, tensor in found.items()}
            rest = own.keys() - inside.keys()
            # A wrapper of ours has buffers beside the model, such as mean and deviation; their names have no dot.
            if inside.keys() <= own.keys() and (not rest or (prefix and not any("." in name for name in rest))):
                return {**{name: own[name] for name in rest}, **inside}, removed
        # DataParallel, torch.compile, and classes that hold the model in an attribute.
        shared = "".join(next(iter(found)).partition(".")[:2])
        if not shared.endswith(".") or not all(name.startswith(shared) for name in found):
            return tensors, ""
        found, removed = {name.removeprefix(shared): tensor for name, tensor in found.items()}, removed + shared
