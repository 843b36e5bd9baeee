"""Training as a cached stage: the same request finds the checkpoint; anything that matters changed trains again."""

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
from robustbench_wb.training.checkpoint import Card, load_checkpoint, save_checkpoint
from robustbench_wb.training.loop import TrainingData, make_optimizer, steps_in, train
from robustbench_wb.training.recipe import Recipe
from robustbench_wb.training.snapshot import load_snapshot, save_snapshot
from robustbench_wb.training.turn import turn

_log = logging.getLogger(__name__)
NOT_TRAINED = "not trained yet"


class TrainingIdentity(Spec):
    """Everything that can change the weights. Its digest is the checkpoint's name."""

    model_code: str
    """Digest of the architecture's source, spec, size and input shape."""
    recipe: Recipe
    seed: int
    data: str
    """Digest of the training split's bytes."""
    numerics: str
    """Device class, number format, torch release."""
    training_code: str
    """Digest of the loop's source."""


@dataclass(frozen=True)
class Trained:
    """Weights of a subject and how they came about."""

    tensors: dict[str, Tensor]
    weights: str
    seconds: float
    fresh: bool
    """True when this call trained them."""


def obtain(
    build: Callable[[], nn.Module],
    model_code: str,
    recipe: Recipe,
    seed: int,
    split: Split,
    device: torch.device,
    numerics: str,
    label: str,
    progress: Progress,
    may_train: bool = True,
) -> Trained:
    """The trained weights: from the cache when nothing that matters changed, else trained now and cached.

    Raises:
        DivergedError: the loss was not finite; nothing is cached.
        SubjectError: the model could not be built, or it is not in the cache and training is not allowed.
    """
    if recipe.epochs == 0:
        tensors = build().state_dict()
        return Trained(tensors, weights_digest(tensors), 0.0, fresh=False)
    identity = TrainingIdentity(
        model_code=model_code,
        recipe=recipe,
        seed=seed,
        data=split.digest(),
        numerics=numerics,
        training_code=code_digest("robustbench_wb.training.loop"),
    )
    path = cache_folder("checkpoints") / f"{identity.digest()}.safetensors"
    found = _find(path)
    if found is not None:
        return Trained(found[0], found[1].weights, found[1].seconds, fresh=False)
    if not may_train:
        raise SubjectError(NOT_TRAINED)
    with turn(path.stem, label):
        found = _find(path)
        fresh = found is None
        if fresh:
            _train(build(), identity, split, device, path, label, progress)
            found = load_checkpoint(path)
    if found is None:
        raise CheckpointError(f"checkpoint {path} vanished right after it was written")
    return Trained(found[0], found[1].weights, found[1].seconds, fresh)


def _find(path: Path) -> tuple[dict[str, Tensor], Card] | None:
    """A whole cached checkpoint. A damaged one is no reason to stop: a cache can be made again."""
    try:
        return load_checkpoint(path)
    except CheckpointError as error:
        _log.warning("%s: training again", error)
        return None


def _train(
    model: nn.Module,
    identity: TrainingIdentity,
    split: Split,
    device: torch.device,
    path: Path,
    label: str,
    progress: Progress,
) -> Card:
    """Train from the last snapshot, if any, and write the checkpoint."""
    model.to(device)
    recipe = identity.recipe
    inputs = torch.tensor(split.inputs).to(device)
    data = TrainingData(inputs, torch.tensor(split.labels).to(device)).select(recipe, identity.seed)
    optimizer = make_optimizer(model, recipe)
    snapshot = path.with_suffix(".partial")
    position = load_snapshot(snapshot, model, optimizer)
    total = steps_in(recipe, len(data.labels))
    with progress.stage(f"train {label}", total, "steps") as advance:
        advance(position.step)
        try:
            loss = train(
                model,
                optimizer,
                data,
                recipe,
                identity.seed,
                position,
                advance,
                lambda now: save_snapshot(snapshot, model, optimizer, now),
            )
        except DivergedError:
            snapshot.unlink(missing_ok=True)
            raise
    card = Card(
        weights=weights_digest(model.state_dict()),
        seconds=round(position.seconds, 3),
        steps=total,
        final_loss=loss,
        identity=identity.model_dump(),
    )
    save_checkpoint(path, model, card)
    snapshot.unlink(missing_ok=True)
    return card
