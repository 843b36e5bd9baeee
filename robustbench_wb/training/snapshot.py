"""Snapshots of unfinished training runs, from which a killed run resumes."""

import logging
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from robustbench_wb.folders import write_atomic
from robustbench_wb.models.weights import put_weights, weights_digest, weights_of
from robustbench_wb.training.checkpoint import untied_copies
from robustbench_wb.training.loop import TrainingState

_LOSSES = "losses"
_log = logging.getLogger(__name__)


def save_snapshot(path: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer, position: TrainingState) -> None:
    """Write weights, optimiser moments and position to one file, atomically; a failure is logged, not raised."""
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
    whole = untied_copies(tensors | {_LOSSES: torch.tensor(position.losses)})
    metadata = {"step": str(position.step), "seconds": str(position.seconds), "digest": weights_digest(whole)}
    try:
        write_atomic(path, lambda temporary: save_file(whole, temporary, metadata))
    except (OSError, SafetensorError) as error:
        _log.warning("snapshot %s cannot be written (%s); training goes on without it", path, error)


def load_snapshot(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """Load a snapshot into model and optimiser and return its position.

    If there is no complete snapshot, both remain unchanged and the position is the start of the training.
    """
    if not path.is_file():
        return TrainingState(0, 0.0)
    try:
        tensors, position = _read(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("snapshot %s cannot be read (%s); training starts over", path, error)
        return TrainingState(0, 0.0)
    put_weights(model, {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, moment = name.split(".")
            state.setdefault(int(index), {})[moment] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return position


def _read(path: Path) -> tuple[dict[str, Tensor], TrainingState]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    if weights_digest(tensors) != metadata["digest"]:
        raise ValueError("its digest does not match its content")
    losses = tuple(tensors.pop(_LOSSES).tolist())
    return tensors, TrainingState(int(metadata["step"]), float(metadata["seconds"]), losses)
