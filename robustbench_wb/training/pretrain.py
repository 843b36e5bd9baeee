"""Pretraining of masked autoencoders. Data order and masks are functions of seed, sample and epoch."""

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.errors import DivergedError
from robustbench_wb.models.autoencoder import MaskedAutoencoder, random_patch_mask
from robustbench_wb.training.loop import descend, learning_rate, make_optimizer, total_steps
from robustbench_wb.training.recipe import Recipe


def pretrain(
    model: MaskedAutoencoder,
    images: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    ratio: float = 0.75,
    normalise: bool = False,
) -> list[float]:
    """Train ``model`` in place on uint8 images (N, C, H, W) on its device; return the mean loss of each epoch.

    ``ratio`` is the share of hidden patches, chosen anew in each epoch; ``normalise`` is explained at
    ``loss``. Only epochs, batch, learning rate, weight decay,
    warm-up and clip of the recipe apply. ``give_encoder`` then copies the encoder into a classifier.

    Raises:
        UsageError: the ratio hides no patch.
        DivergedError: the loss of an epoch is not finite.
    """
    optimizer = make_optimizer(model, recipe)
    total, step = total_steps(recipe, len(images)), 0
    patches = len(model.embedding.coordinates) - 1
    means: list[float] = []
    model.train()
    for epoch in range(recipe.epochs):
        losses = []
        order = rng.permutation(len(images), seed=seed, label="mae-order", step=epoch).to(images.device)
        for ids in torch.split(order, recipe.batch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, total)
            loss = model.loss(
                images[ids].float() / 255, random_patch_mask(ids, patches, ratio, seed=seed, step=epoch), normalise
            )
            losses.append(descend(model, optimizer, loss=loss, clip=recipe.clip))
            step += 1
        means.append(float(torch.stack(losses).mean()))
        if not means[-1] < float("inf"):
            raise DivergedError(f"pretraining diverged in epoch {epoch + 1}; lower the learning rate")
    model.eval()
    return means
