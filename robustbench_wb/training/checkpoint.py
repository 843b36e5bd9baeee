"""Checkpoints: a safetensors file and a JSON card, written atomically and verified by digest. Pickles are rejected."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robustbench_wb.errors import CheckpointError
from robustbench_wb.folders import write_atomic
from robustbench_wb.models.weights import put_weights, weights_digest, weights_of
from robustbench_wb.spec import Spec


class CheckpointCard(Spec):
    """Metadata of a checkpoint."""

    weights: str
    """Digest of the tensors; verified at every load."""
    seconds: float
    """Wall time of the training, in seconds."""
    steps: int
    final_loss: float | None
    """Mean training loss of the last epoch, nats; None if there was no epoch."""
    identity: dict[str, object]
    """Inputs of the training (a ``TrainingIdentity``); their digest is the name of the file."""


def save_checkpoint(path: Path, model: nn.Module, card: CheckpointCard) -> None:
    """Write ``path`` (safetensors), then the card beside it; a checkpoint without a card counts as incomplete.

    Raises:
        CheckpointError: a file cannot be written.
    """
    tensors = untied_copies(weights_of(model))
    text = card.model_dump_json(indent=1)
    try:
        write_atomic(path, lambda temporary: save_file(tensors, temporary))
        write_atomic(path.with_suffix(".json"), lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be written: {error}") from error


def untied_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return CPU copies of tensors with separate storage, because safetensors rejects tied weights."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], CheckpointCard] | None:
    """Return the tensors and the card of a complete checkpoint; None if there is none.

    Raises:
        CheckpointError: the checkpoint is damaged: its bytes do not match the card.
    """
    card_path = path.with_suffix(".json")
    if not (path.is_file() and card_path.is_file()):
        return None
    try:
        card = CheckpointCard.model_validate(json.loads(card_path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise CheckpointError(f"the card of checkpoint {path} cannot be read; delete it to train again") from error
    tensors = load_tensors(path)
    if weights_digest(tensors) != card.weights:
        raise CheckpointError(
            f"checkpoint {path} is damaged: its digest differs from its card; delete it to train again"
        )
    return tensors, card


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: the file is missing, a pickle, or not a safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist")
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        # Only after a failure: the header length of a valid safetensors file can look like the start of a pickle.
        if looks_pickled(path):
            raise CheckpointError(
                f"{path} is a pickle, which can run code when loaded; convert it to safetensors first"
            ) from None
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def looks_pickled(path: Path) -> bool:
    """Whether a file begins like a pickle or a torch zip file; a valid safetensors file can do so, too."""
    try:
        with path.open("rb") as file:
            return file.read(4).startswith((b"PK\x03\x04", b"\x80"))
    except OSError:
        return False


def load_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load ``tensors``, read from ``path``, into ``model``; names and shapes must match exactly.

    Raises:
        CheckpointError: a name is missing or unknown, or a shape differs; the message names the first one.
    """
    own = weights_of(model)
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    both = sorted(own.keys() & tensors.keys())
    wrong = [name for name in both if own[name].shape != tensors[name].shape]
    unlike = [name for name in both if own[name].is_floating_point() != tensors[name].is_floating_point()]
    for problem, names in (
        ("lacks", missing),
        ("has the unknown", extra),
        ("has another shape for", wrong),
        ("has whole numbers and fractions exchanged in", unlike),
        ("has sparse or quantised numbers in", [name for name in both if tensors[name].layout is not torch.strided]),
    ):
        if names:
            rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
            held = ", ".join(map(repr, sorted(tensors.keys() - own.keys() or tensors.keys())[:3])) or "nothing"
            told = f"; the file holds {held}, {len(tensors)} weights in all" if names is missing else ""
            raise CheckpointError(f"checkpoint {path} does not fit the model: it {problem} {names[0]!r}{rest}{told}")
    # Buffers would take the number format of the file.
    put_weights(model, {name: tensor.to(own[name].dtype) for name, tensor in tensors.items()})
