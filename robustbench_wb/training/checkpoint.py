"""Checkpoints: safetensors beside a JSON card, whole or absent, verified by digest. Pickles are refused unread."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robustbench_wb.errors import CheckpointError
from robustbench_wb.folders import write_atomic
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.spec import Spec


class Card(Spec):
    """What is known of a checkpoint beside its tensors."""

    weights: str
    """Digest of the tensors; checked at every load."""
    seconds: float
    """Wall time of the training."""
    steps: int
    final_loss: float
    """Mean training loss of the last epoch, nats."""
    identity: dict[str, Any]
    """What the checkpoint was made from; its digest is the file's name."""


def save_checkpoint(path: Path, model: nn.Module, card: Card) -> None:
    """Write ``path`` (safetensors), then the card beside it; the card's presence is what makes it complete.

    Raises:
        CheckpointError: it cannot be written.
    """
    tensors = separate(model.state_dict())
    text = card.model_dump_json(indent=1)
    try:
        write_atomic(path, lambda temporary: save_file(tensors, temporary))
        write_atomic(path.with_suffix(".json"), lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be written: {error}") from error


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, each with storage of its own: safetensors refuses tied weights, which models may have."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], Card] | None:
    """The tensors and card of a complete checkpoint; None when there is none.

    Raises:
        CheckpointError: it is damaged: the bytes are not what the card says.
    """
    card_path = path.with_suffix(".json")
    if not (path.is_file() and card_path.is_file()):
        return None
    try:
        card = Card.model_validate(json.loads(card_path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise CheckpointError(f"the card of checkpoint {path} cannot be read; delete it to train again") from error
    tensors = load_tensors(path)
    if weights_digest(tensors) != card.weights:
        raise CheckpointError(
            f"checkpoint {path} is damaged: its digest differs from its card; delete it to train again"
        )
    return tensors, card


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: the file is missing, a pickle, or not safetensors.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist")
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        # Only now: the header length that begins a sound safetensors file may look like the start of a pickle.
        if looks_pickled(path):
            raise CheckpointError(
                f"{path} is a pickle, which can run code when loaded; convert it to safetensors first"
            ) from None
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def looks_pickled(path: Path) -> bool:
    """Whether a file begins like a pickle or like torch's zip of one; a sound safetensors file may, too."""
    try:
        with path.open("rb") as file:
            return file.read(4).startswith((b"PK\x03\x04", b"\x80"))
    except OSError:
        return False


def put_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load tensors into ``model``, strictly.

    Raises:
        CheckpointError: a name is missing or extra, or a shape differs; the message names the first.
    """
    own = model.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = [name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape]
    for problem, names in (
        ("lacks", missing),
        ("has the unknown", extra),
        ("has another shape for", sorted(wrong)),
    ):
        if names:
            rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(f"checkpoint {path} does not fit the model: it {problem} {names[0]!r}{rest}")
    model.load_state_dict(tensors)
