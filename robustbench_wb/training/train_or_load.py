"""Cached training: equal inputs find the cached checkpoint; any change of a relevant input trains again."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robustbench_wb.cpu_threads import cpu_threads
from robustbench_wb.errors import CheckpointError, DivergedError, SubjectError
from robustbench_wb.folders import cache_folder
from robustbench_wb.models.data_built import build_from_data, is_data_built
from robustbench_wb.models.weights import other_state, weights_digest, weights_of
from robustbench_wb.progress import Progress
from robustbench_wb.source import code_digest
from robustbench_wb.spec import Spec
from robustbench_wb.tasks.task import Split
from robustbench_wb.training.checkpoint import CheckpointCard, load_checkpoint, save_checkpoint
from robustbench_wb.training.checkpoint_lock import checkpoint_lock
from robustbench_wb.training.lone_sample import without_lone_sample
from robustbench_wb.training.loop import make_optimizer, total_steps, train
from robustbench_wb.training.mapped_images import training_data
from robustbench_wb.training.recipe import Recipe
from robustbench_wb.training.shared_checkpoints import fetch_checkpoint, share_checkpoint
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
class TrainedWeights:
    """Trained weights and their origin."""

    tensors: dict[str, Tensor]
    weights: str
    """Digest of the tensors."""
    seconds: float
    """Wall time of the training, in seconds."""
    fresh: bool
    """True if this call trained the weights; False if they were cached or need no training."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingRequest:
    """A model to train by a recipe on a split, and how to do it."""

    build: Callable[[], nn.Module]
    """Builds the untrained model on the CPU, the same one each time."""
    model_code: str
    """Digest of the architecture's source, spec, size and input shape."""
    recipe: Recipe
    seed: int
    split: Split
    """Training samples."""
    device: torch.device
    numerics: str
    """Device class, number format, torch release."""
    label: str
    """Name of the model and its data in progress displays."""
    progress: Progress
    may_train: bool = True
    """False: a model that is not in the cache is an error."""

    @property
    def identity(self) -> TrainingIdentity:
        """Everything in the request that can change the weights."""
        return TrainingIdentity(
            model_code=self.model_code,
            recipe=self.recipe,
            seed=self.seed,
            data=self.split.digest(),
            numerics=self.numerics,
            training_code=code_digest("robustbench_wb.training.loop"),
        )


def train_or_load(request: TrainingRequest) -> TrainedWeights:
    """The trained weights: from the cache when nothing that matters changed, else trained now and cached.

    A model whose layers are computed from data gets these layers before the first step, and has them without a step.

    Raises:
        DivergedError: the loss is not finite; nothing is cached.
        SubjectError: the model cannot be built, or it is not cached and ``may_train`` is False.
    """
    if request.recipe.epochs == 0 and not is_data_built(model := request.build()):
        tensors = weights_of(model)
        return TrainedWeights(tensors=tensors, weights=weights_digest(tensors), seconds=0.0, fresh=False)
    identity = request.identity
    path = cache_folder("checkpoints") / f"{identity.digest()}.safetensors"
    found, fresh = _find(path), False
    if found is None and not request.may_train:
        raise SubjectError(NOT_TRAINED)
    if found is None:
        with checkpoint_lock(path.stem, request.label, request.progress):
            found = _find(path)
            fresh = found is None
            if fresh:
                with cpu_threads(request.recipe.threads):
                    _train(request, identity, path)
                share_checkpoint(path)
                found = load_checkpoint(path)
    if found is None:
        raise CheckpointError(f"checkpoint {path} was deleted right after it was written; run again")
    return TrainedWeights(tensors=found[0], weights=found[1].weights, seconds=found[1].seconds, fresh=fresh)


def _find(path: Path) -> tuple[dict[str, Tensor], CheckpointCard] | None:
    """Cached checkpoint, from this machine or the shared cache; None if there is none.

    A damaged one counts as missing, because the model can be trained again.
    """
    found = _load(path)
    if found is None:
        fetch_checkpoint(path)
        found = _load(path)
    return found


def _load(path: Path) -> tuple[dict[str, Tensor], CheckpointCard] | None:
    try:
        return load_checkpoint(path)
    except CheckpointError as error:
        _log.warning("%s: training again", error)
        return None


def _train(request: TrainingRequest, identity: TrainingIdentity, path: Path) -> None:
    """Train from the last snapshot, if any, and write the checkpoint."""
    model, recipe, split = request.build().to(request.device), request.recipe, request.split
    data = training_data(split, recipe, seed=request.seed, device=request.device)
    data = without_lone_sample(model, data, recipe, label=request.label)
    optimizer, other = make_optimizer(model, recipe), other_state(model)
    snapshot = path.with_suffix(".partial")
    position = load_snapshot(snapshot, model, optimizer)
    if position.step == 0 and is_data_built(model):
        build_from_data(model, data.inputs, data.labels)
    total = total_steps(recipe, len(data.labels))
    with request.progress.stage(f"train {request.label}", total, "steps") as advance:
        advance(position.step)
        try:
            loss = train(
                model,
                optimizer,
                data,
                recipe=recipe,
                seed=request.seed,
                position=position,
                advance=advance,
                snapshot=lambda now: save_snapshot(snapshot, model=model, optimizer=optimizer, position=now),
            )
        except DivergedError:
            snapshot.unlink(missing_ok=True)
            raise
    if other_state(model) != other:
        raise SubjectError("training changed state that is no tensor (get_extra_state), which no checkpoint can hold")
    card = CheckpointCard(
        weights=weights_digest(weights_of(model)),
        seconds=round(position.seconds, 3),
        steps=total,
        final_loss=loss if total else None,
        identity=identity.model_dump(),
    )
    save_checkpoint(path, model, card)
    snapshot.unlink(missing_ok=True)
