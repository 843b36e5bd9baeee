"""Adversarial training: the inner maximisation over images, and the loss of the outer minimisation over weights.

The inner loop runs the model in eval mode: dropout is off, and batch norms use their running statistics without
updating them, so that an adversarial example does not depend on the rest of its batch. The outer loss runs in training
mode. The inner loop computes input gradients only.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb import rng
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.training.autocast import autocast_forward
from robustbench_wb.training.recipe import Adversary, Recipe

START = 0.001
"""Standard deviation of the Gaussian start of TRADES, needed because the divergence has no gradient at the image."""

_NORMS: dict[str, Norm] = {"linf": LINF, "l2": L2_NORM}


def adversarial_loss(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    ids: Tensor,
    recipe: Recipe,
    adversary: Adversary,
    seed: int,
    epoch: int,
    progress: float,
) -> Tensor:
    """Return the mean adversarial training loss (nats) of a batch; ``progress`` is the finished share of the training.

    PGD-AT: CE(f(x'), y) at the x' with the largest cross-entropy (Madry et al. 2018, eq. 2.1). TRADES: CE(f(x), y) +
    beta KL(p(x) || p(x')) at the x' with the largest divergence (Zhang et al. 2019, eq. 5); both terms have gradients.
    """
    radius = float(adversary.eps) * (min(1.0, progress / adversary.warmup) if adversary.warmup else 1.0)
    worst = adversarial_examples(
        model, images, labels, ids=ids, adversary=adversary, radius=radius, seed=seed, epoch=epoch
    )
    if adversary.beta is None:
        return F.cross_entropy(autocast_forward(model, worst), labels, label_smoothing=recipe.label_smoothing)
    clean = autocast_forward(model, images)
    natural = F.cross_entropy(clean, labels, label_smoothing=recipe.label_smoothing)
    return natural + adversary.beta * divergence(clean, autocast_forward(model, worst)).mean()


def divergence(clean: Tensor, other: Tensor) -> Tensor:
    """Return KL(softmax(clean) || softmax(other)) per sample in nats, (B,), for logits (B, classes).

    Gradients flow into both arguments.
    """
    return F.kl_div(F.log_softmax(other, 1), F.log_softmax(clean, 1), reduction="none", log_target=True).sum(1)


def adversarial_examples(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    ids: Tensor,
    adversary: Adversary,
    radius: float,
    seed: int,
    epoch: int,
) -> Tensor:
    """Return adversarial examples (B, C, H, W): the last iterates of the ascent inside balls of ``radius`` and [0, 1].

    The start is a function of (seed, sample id, epoch): uniform in the ball for PGD, Gaussian around the image for
    TRADES.
    """
    norm = _NORMS[adversary.norm]
    radii = torch.full((len(images), 1, 1, 1), radius, device=images.device)

    def project(candidate: Tensor) -> Tensor:
        return (images + norm.project(candidate - images, radii)).clamp(0.0, 1.0)

    shape = tuple(images.shape[1:])
    if adversary.method == "pgd":
        start = radius * norm.uniform_in_ball(ids, shape, seed=seed, label="train-adversary", step=epoch)
    else:
        start = START * rng.normal(ids, shape, seed=seed, label="train-adversary", step=epoch)
    current = project(images + start)
    with evaluating(model):
        loss = _inner_loss(model, images=images, labels=labels, adversary=adversary)
        for _ in range(adversary.steps):
            current.requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(current), current, allow_unused=True, materialize_grads=True)
            current = project(current.detach() + float(adversary.step) * radius * norm.steepest_direction(gradient))
    return current


def _inner_loss(
    model: nn.Module, *, images: Tensor, labels: Tensor, adversary: Adversary
) -> Callable[[Tensor], Tensor]:
    """Loss that the adversary maximises, summed over the batch, so that samples have independent gradients."""
    if adversary.method == "pgd":
        return lambda current: F.cross_entropy(autocast_forward(model, current), labels, reduction="sum")
    with torch.no_grad():
        clean = autocast_forward(model, images)
    return lambda current: divergence(clean, autocast_forward(model, current)).sum()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode; on exit every submodule gets its previous mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
