"""Training loop.

Data order and augmentation are functions of seed, sample and epoch, so that a resumed run equals an uninterrupted one.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb import rng
from robustbench_wb.errors import DivergedError
from robustbench_wb.models.batching import text_lengths, trim_padding
from robustbench_wb.progress import Advance
from robustbench_wb.tasks.task_tokenizer import MASK, SPECIAL
from robustbench_wb.training.adversary import adversarial_loss
from robustbench_wb.training.autocast import autocast_forward
from robustbench_wb.training.language_loss import next_token_losses
from robustbench_wb.training.recipe import Recipe

SNAPSHOT_SECONDS = 20.0
"""Minimum time between two snapshots, in seconds."""

POOL = 32
"""Number of text batches that are sorted by length together."""

CHECK_STEPS = 50
"""Number of steps between two checks of the loss for divergence."""


@dataclass
class TrainingState:
    """State of a training run: how far it is."""

    step: int
    """Number of finished optimiser steps."""
    seconds: float
    """Wall time of the finished steps in seconds, over all sessions."""
    losses: tuple[float, ...] = ()
    """Losses of the steps of the unfinished epoch, as of the last snapshot."""


@dataclass(frozen=True)
class TrainingData:
    """Training split on the device of the model."""

    inputs: Tensor
    """Images, uint8 (N, C, H, W), or token ids, int32 (N, L)."""
    labels: Tensor
    """Class labels, int64 (N,)."""

    def select(self, recipe: Recipe, seed: int) -> "TrainingData":
        """Return the recipe's share of the samples: the first ``train_samples`` of a fixed random order."""
        if recipe.train_samples is None or recipe.train_samples >= len(self.labels):
            return self
        chosen = rng.permutation(len(self.labels), seed=seed, label="train-share")[: recipe.train_samples]
        chosen = chosen.sort().values.to(self.labels.device)
        return TrainingData(self.inputs[chosen], self.labels[chosen])

    @property
    def texts(self) -> bool:
        """Whether the inputs are token ids."""
        return self.inputs.ndim == 2

    def order(self, recipe: Recipe, seed: int, epoch: int) -> Tensor:
        """Return the sample indices of an epoch in random order, a function of ``seed`` and ``epoch``.

        Texts of similar length are batched together to avoid padding: the random order is split into pools of
        ``POOL`` batches, each pool is sorted by length, and the batches are shuffled. An incomplete last batch
        stays last.
        """
        order = rng.permutation(len(self.labels), seed=seed, label="train-order", step=epoch).to(self.labels.device)
        if not self.texts:
            return order
        size = text_lengths(self.inputs)
        pools = [pool[torch.argsort(size[pool], stable=True)] for pool in torch.split(order, POOL * recipe.batch)]
        batches = torch.split(torch.cat(pools), recipe.batch)
        whole = len(order) // recipe.batch
        shuffled = rng.permutation(whole, seed=seed, label="train-batches", step=epoch).tolist()
        return torch.cat([*(batches[index] for index in shuffled), *batches[whole:]])


def total_steps(recipe: Recipe, samples: int) -> int:
    """Return the number of optimiser steps of a whole training on ``samples`` samples."""
    return recipe.epochs * math.ceil(samples / recipe.batch)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices only."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.learning_rate)


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """Return the learning rate at ``step`` (from 0): a linear warm-up, then a half cosine down to 0."""
    warm = max(1, round(recipe.warmup * total))
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def augment(images: Tensor, ids: Tensor, *, recipe: Recipe, seed: int, epoch: int) -> Tensor:
    """Shift and flip float images (B, C, H, W); the transformation depends on sample id, seed and epoch only."""
    if recipe.flip:
        flipped = rng.uniform(ids, (1,), seed=seed, label="flip", step=epoch)[:, 0] < 0.5
        images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
    if recipe.shift:
        reach = 2 * recipe.shift + 1
        moves = (rng.uniform(ids, (2,), seed=seed, label="shift", step=epoch) * reach).long().clamp(max=reach - 1)
        height, width = images.shape[-2:]
        padded = F.pad(images, [recipe.shift] * 4)
        rows = moves[:, :1] + torch.arange(height, device=ids.device)
        columns = moves[:, 1:] + torch.arange(width, device=ids.device)
        batch = torch.arange(len(ids), device=ids.device)[:, None, None]
        images = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        images = images.contiguous()  # models may call .view on their input
    return images


def mask_words(tokens: Tensor, ids: Tensor, *, recipe: Recipe, seed: int, epoch: int) -> Tensor:
    """Replace a share of the words in token ids (B, L) by [MASK], chosen by sample id, seed and epoch only."""
    if not recipe.masked:
        return tokens
    hidden = rng.uniform(ids, (tokens.shape[1],), seed=seed, label="masked", step=epoch) < recipe.masked
    return torch.where(hidden & (tokens >= len(SPECIAL)), MASK, tokens)


def train(
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    data: TrainingData,
    *,
    recipe: Recipe,
    seed: int,
    position: TrainingState,
    advance: Advance,
    snapshot: Callable[[TrainingState], None],
) -> float:
    """Train ``model`` in place from ``position`` to the end; return the mean loss of the last epoch (nats).

    On CUDA forward passes run in bfloat16 autocast; weights, optimiser moments and passes on CPU and MPS are float32.
    Random numbers that the model draws itself (dropout) are functions of seed and step; torch's global generators keep
    their state. ``position`` is updated in place, and ``snapshot`` is called with it from time to time.

    Raises:
        DivergedError: a loss or a weight is not finite.
    """
    device = data.labels.device
    count = len(data.labels)
    per_epoch = math.ceil(count / recipe.batch)
    total = total_steps(recipe, count)
    last = time.perf_counter()
    started = last - position.seconds
    losses = list(torch.tensor(position.losses, device=device).unbind())
    order = torch.empty(0, dtype=torch.int64)
    model.train()
    with seedable_generators(device) as reseed:
        for step in range(position.step, total):
            epoch, within = divmod(step, per_epoch)
            if within == 0 or len(order) == 0:
                order = data.order(recipe, seed, epoch)
            ids = order[within * recipe.batch : (within + 1) * recipe.batch]
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, total)
            reseed(rng.stream_key(seed, "train-model", step))
            losses.append(
                _step(
                    model, optimizer, data, ids=ids, recipe=recipe, seed=seed, epoch=epoch, progress=(step + 1) / total
                )
            )
            advance(1)
            position.step = step + 1
            # Reading the loss waits for the device, so it is read only from time to time and at the end.
            due = time.perf_counter() - last > SNAPSHOT_SECONDS and position.step < total
            if due or step % CHECK_STEPS == CHECK_STEPS - 1 or position.step == total:
                _refuse_divergence(losses, step)
            if due:
                position.seconds = time.perf_counter() - started
                unfinished = position.step % per_epoch
                position.losses = tuple(torch.stack(losses[-unfinished:]).tolist()) if unfinished else ()
                snapshot(position)
                last = time.perf_counter()
    if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
        raise DivergedError("training diverged: weights are not finite after the last step; lower the learning rate")
    position.seconds = time.perf_counter() - started
    model.eval()
    return float(torch.stack(losses[-per_epoch:]).mean()) if losses else math.nan


@contextmanager
def seedable_generators(device: torch.device) -> Iterator[Callable[[int], None]]:
    """Yield a function that seeds torch's generators of the CPU and ``device``; restore them on exit (not on MPS)."""
    cuda = device.type == "cuda"

    def reseed(key: int) -> None:
        torch.default_generator.manual_seed(key)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(key)
        elif device.type == "mps":
            torch.mps.manual_seed(key)

    with torch.random.fork_rng(devices=[device] if cuda else []):
        yield reseed


def _step(
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    data: TrainingData,
    *,
    ids: Tensor,
    recipe: Recipe,
    seed: int,
    epoch: int,
    progress: float,
) -> Tensor:
    """Take one optimiser step and return the detached loss; ``progress`` is the share of the run after this step."""
    inputs = data.inputs[ids]
    if data.texts:
        inputs = mask_words(trim_padding(inputs.long()), ids, recipe=recipe, seed=seed, epoch=epoch)
    else:
        inputs = augment(inputs.float() / 255, ids, recipe=recipe, seed=seed, epoch=epoch)
    labels = data.labels[ids]
    if recipe.adversary is not None:
        loss = adversarial_loss(
            model,
            inputs,
            labels,
            ids=ids,
            recipe=recipe,
            adversary=recipe.adversary,
            seed=seed,
            epoch=epoch,
            progress=progress,
        )
    else:
        logits = autocast_forward(model, inputs)
        if logits.ndim == 3:
            loss = next_token_losses(logits, data.inputs[ids].long()).mean()
        else:
            loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    return descend(model, optimizer, loss=loss, clip=recipe.clip)


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, *, loss: Tensor, clip: float) -> Tensor:
    """Take one optimiser step on ``loss`` with the gradient norm clipped to ``clip``; return the detached loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.detach()


def _refuse_divergence(losses: list[Tensor], step: int) -> None:
    if not bool(torch.isfinite(torch.stack(losses[-CHECK_STEPS:])).all()):
        raise DivergedError(
            f"training diverged: the loss is not finite at step {step + 1} or shortly before; lower the learning rate"
        )
