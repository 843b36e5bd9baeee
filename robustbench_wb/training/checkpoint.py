"""Checkpoints: safetensors beside a JSON card, whole or absent, verified by digest. Pickles are refused unread."""

import json
from pathlib import Path
from typing import Any

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
    """Write ``path`` (safetensors), then the card beside it; the card's presence is what makes it complete."""
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    write_atomic(path, lambda temporary: save_file(tensors, temporary))
    text = card.model_dump_json(indent=1)
    write_atomic(path.with_suffix(".json"), lambda temporary: temporary.write_text(text))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], Card] | None:
    """The tensors and card of a complete checkpoint; None when there is none.

    Raises:
        CheckpointError: it is damaged: the bytes are not what the card says.
    """
    card_path = path.with_suffix(".json")
    if not (path.is_file() and card_path.is_file()):
        return None
    try:
        card = Card.model_validate(json.loads(card_path.read_text()))
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
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith((b"PK\x03\x04", b"\x80")):
        raise CheckpointError(f"{path} is a pickle, which can run code when loaded; convert it to safetensors first")
    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


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
