"""Cached training: equal inputs find the cached checkpoint; any change of a relevant input trains again."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robustbench_wb.errors import CheckpointError, DivergedError, SubjectError
from robustbench_wb.folders import cache_folder
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.progress import Progress
from robustbench_wb.source import code_digest
from robustbench_wb.spec import Spec
from robustbench_wb.tasks.task import Split
from robustbench_wb.training.checkpoint import CheckpointCard, load_checkpoint, save_checkpoint
from robustbench_wb.training.checkpoint_lock import checkpoint_lock
from robustbench_wb.training.loop import TrainingData, make_optimizer, total_steps, train
from robustbench_wb.training.recipe import Recipe
from robustbench_wb.training.snapshot import load_snapshot, save_snapshot

_log = logging.getLogger(__name__)
NOT_TRAINED = "not trained yet"


class TrainingIdentity(Spec):
    """Everything that can change the trained weights; its digest names the checkpoint file."""

    model_code: str
    """Digest of the architecture: source code, variant, size and input shape."""
    recipe: Recipe
    seed: int
    data: str
    """Digest of the training split."""
    numerics: str
    """Device type, number format and torch release."""
    training_code: str
    """Code digest of the training loop."""


@dataclass(frozen=True, kw_only=True)
class TrainingInputs:
    """Inputs of one training: the untrained model, the recipe, the data and the device."""

    build: Callable[[], nn.Module]
    """Builds the untrained model, with equal weights at every call."""
    model_code: str
    """Digest of the architecture: source code, variant, size and input shape."""
    recipe: Recipe
    seed: int
    split: Split
    """Training split."""
    device: torch.device
    numerics: str
    """Device type, number format and torch release."""

    def identity(self) -> TrainingIdentity:
        """Return the identity of the trained weights."""
        return TrainingIdentity(
            model_code=self.model_code,
            recipe=self.recipe,
            seed=self.seed,
            data=self.split.digest(),
            numerics=self.numerics,
            training_code=code_digest("robustbench_wb.training.loop"),
        )


@dataclass(frozen=True, kw_only=True)
class TrainedWeights:
    """Trained weights and their origin."""

    tensors: dict[str, Tensor]
    weights: str
    """Digest of the tensors."""
    seconds: float
    """Wall time of the training, in seconds."""
    fresh: bool
    """True if this call trained the weights; False if they were cached or need no training."""


def train_or_load(inputs: TrainingInputs, *, label: str, progress: Progress, may_train: bool = True) -> TrainedWeights:
    """Return trained weights: from the cache if no relevant input changed, otherwise trained now and cached.

    ``label`` names the training in progress reports and log messages.

    Raises:
        DivergedError: the loss is not finite; nothing is cached.
        SubjectError: the model cannot be built, or it is not cached and ``may_train`` is False.
    """
    if inputs.recipe.epochs == 0:
        tensors = inputs.build().state_dict()
        return TrainedWeights(tensors=tensors, weights=weights_digest(tensors), seconds=0.0, fresh=False)
    identity = inputs.identity()
    path = cache_folder("checkpoints") / f"{identity.digest()}.safetensors"
    found = _find(path)
    if found is not None:
        return TrainedWeights(tensors=found[0], weights=found[1].weights, seconds=found[1].seconds, fresh=False)
    if not may_train:
        raise SubjectError(NOT_TRAINED)
    with checkpoint_lock(path.stem, label):
        found = _find(path)
        fresh = found is None
        if fresh:
            _train(inputs, identity=identity, path=path, label=label, progress=progress)
            found = load_checkpoint(path)
    if found is None:
        raise CheckpointError(f"checkpoint {path} was deleted right after it was written; run again")
    return TrainedWeights(tensors=found[0], weights=found[1].weights, seconds=found[1].seconds, fresh=fresh)


def _find(path: Path) -> tuple[dict[str, Tensor], CheckpointCard] | None:
    """Cached checkpoint, or None. A damaged one counts as missing, because the model can be trained again."""
    try:
        return load_checkpoint(path)
    except CheckpointError as error:
        _log.warning("%s: training again", error)
        return None


def _train(inputs: TrainingInputs, *, identity: TrainingIdentity, path: Path, label: str, progress: Progress) -> None:
    """Train from the last snapshot, if there is one, and write the checkpoint."""
    model, recipe, split, device = inputs.build(), inputs.recipe, inputs.split, inputs.device
    model.to(device)
    images_or_tokens = torch.tensor(split.inputs).to(device)
    data = TrainingData(images_or_tokens, torch.tensor(split.labels).to(device)).select(recipe, inputs.seed)
    optimizer = make_optimizer(model, recipe)
    snapshot = path.with_suffix(".partial")
    position = load_snapshot(snapshot, model, optimizer)
    total = total_steps(recipe, len(data.labels))
    with progress.stage(f"train {label}", total, "steps") as advance:
        advance(position.step)
        try:
            loss = train(
                model,
                optimizer,
                data,
                recipe=recipe,
                seed=inputs.seed,
                position=position,
                advance=advance,
                snapshot=lambda now: save_snapshot(snapshot, model=model, optimizer=optimizer, position=now),
            )
        except DivergedError:
            snapshot.unlink(missing_ok=True)
            raise
    card = CheckpointCard(
        weights=weights_digest(model.state_dict()),
        seconds=round(position.seconds, 3),
        steps=total,
        final_loss=loss,
        identity=identity.model_dump(),
    )
    save_checkpoint(path, model, card)
    snapshot.unlink(missing_ok=True)
