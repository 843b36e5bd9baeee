"""Pretraining of the masked autoencoder."""

import torch

from robustbench_wb.models.autoencoder import MaskedAutoencoder, build_autoencoder, copy_encoder
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.build import build
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.variant import Size
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.models.zoo.crate import CRATE_MAE
from robustbench_wb.training.pretrain import pretrain
from robustbench_wb.training.recipe import Recipe
from tests.known import a, parts
from tests.training.small_runs import digits

SHAPE = ImageShape(channels=1, height=8, width=8, classes=10, patch=2)
VARIANT = CRATE_MAE.model_copy(update={"sizes": {"toy": Size(width=32, depth=2, heads=2)}})
RECIPE = Recipe(epochs=8, batch=32, learning_rate=3e-3)


def autoencoder() -> MaskedAutoencoder:
    return build_autoencoder("toy", SHAPE, mean=[0.3], std=[0.35], seed=0, variant=VARIANT)


def test_the_loss_falls_and_the_same_seed_gives_the_same_weights() -> None:
    images = torch.tensor(digits(256).inputs)
    model, again, other = autoencoder(), autoencoder(), autoencoder()
    losses = pretrain(model, images, RECIPE, seed=1, ratio=0.5)
    assert len(losses) == 8
    assert losses[-1] < 0.8 * losses[0]
    torch.rand(3)
    assert pretrain(again, images, RECIPE, seed=1, ratio=0.5) == losses
    assert weights_digest(again.state_dict()) == weights_digest(model.state_dict())
    assert pretrain(other, images, RECIPE.model_copy(update={"epochs": 1}), seed=2, ratio=0.5)[0] != losses[0]
    classifier = build(VARIANT, "toy", SHAPE, mean=[0.3], std=[0.35], seed=0)
    copy_encoder(model, a(ImageClassifier, classifier))
    with torch.no_grad():
        latent, _ = model.encode(images[:4].float() / 255)
        assert torch.equal(classifier(images[:4].float() / 255), parts(classifier).head.linear(latent[:, 0]))
