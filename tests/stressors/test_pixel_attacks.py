"""Attacks on all pixels: losses against their definitions, and what holds for every search."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.segmentation_shape import VOID, SegmentationShape
from robustbench_wb.stressors.attacks.pixel_attack import PixelAttack
from robustbench_wb.stressors.attacks.pixel_ensemble import PixelEnsembleLinf, jensen_shannon_losses, masked_losses
from robustbench_wb.stressors.attacks.pixel_pgd import PixelPgdLinf, SegPgdLinf, segpgd_losses
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.pixel_outcomes import count_pixels, image_ious, image_losses
from robustbench_wb.stressors.sample_batch import SampleBatch
from tests.known import known

SHAPE = SegmentationShape(channels=3, height=8, width=8, classes=4, patch=4)
ATTACKS = (PixelPgdLinf, SegPgdLinf, PixelEnsembleLinf)


def drawn(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def scene(count: int = 6) -> tuple[nn.Module, SampleBatch]:
    """A small convolutional model, and images that it segments mostly right; some pixels do not count."""
    first, last = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 4, 1)
    model = nn.Sequential(first, nn.Tanh(), last).eval().requires_grad_(False)
    first.weight.copy_(2 * drawn(8, 3, 3, 3, seed=2))
    last.weight.copy_(drawn(4, 8, 1, 1, seed=3))
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    known(last.bias).sub_(model(images).mean((0, 2, 3)))  # so that no class is rare
    labels = model(images).argmax(1)
    labels[:, 0] = VOID
    labels[:, 1, :4] = (labels[:, 1, :4] + 1) % 4
    return model, SampleBatch(inputs=images, labels=labels, ids=torch.arange(count), seed=0, shape=SHAPE)


def ious(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return image_ious(count_pixels(model(images), labels))


def test_losses_are_those_of_their_definitions() -> None:
    logits, labels = drawn(2, 4, 3, 3), torch.randint(0, 4, (2, 3, 3), generator=torch.Generator().manual_seed(1))
    labels[0, 0, 0] = VOID
    for image in range(2):
        pixels = [(r, c) for r in range(3) for c in range(3) if labels[image, r, c] != VOID]
        chances = {at: torch.softmax(logits[image, :, at[0], at[1]].double(), 0).numpy() for at in pixels}
        truth = {at: int(labels[image, at[0], at[1]]) for at in pixels}
        entropies = {at: -np.log(chances[at][truth[at]]) for at in pixels}
        right = {at: int(chances[at].argmax()) == truth[at] for at in pixels}
        divergences = [jensenshannon(chances[at], np.eye(4)[truth[at]]) ** 2 for at in pixels]
        expected = {
            image_losses: np.mean(list(entropies.values())),
            masked_losses: sum(entropies[at] for at in pixels if right[at]) / len(pixels),
            jensen_shannon_losses: np.mean(divergences),
        }
        for loss, value in expected.items():
            assert loss(logits, labels)[image].item() == pytest.approx(value, rel=1e-5)
        weighted = sum((0.7 if right[at] else 0.3) * entropies[at] for at in pixels) / len(pixels)
        assert segpgd_losses(logits, labels, 0.3)[image].item() == pytest.approx(weighted, rel=1e-5)


def test_segpgd_turns_from_right_to_wrong_pixels() -> None:
    """lambda = (t - 1) / (2 T): 0 at the first of T = 4 steps, 3/8 at the last."""
    logits, labels = drawn(2, 4, 3, 3), torch.zeros(2, 3, 3, dtype=torch.int64)
    attack = SegPgdLinf(eps=Fraction(1, 255), steps=4)
    for step, share in enumerate((0, 1 / 8, 2 / 8, 3 / 8)):
        torch.testing.assert_close(
            attack.loss(logits, labels=labels, run=0, step=step), segpgd_losses(logits, labels, share)
        )


@pytest.mark.parametrize("kind", ATTACKS)
def test_results_are_in_the_ball_and_never_better_than_clean_or_a_smaller_radius(kind: type[PixelAttack]) -> None:
    model, batch = scene()
    rungs = [kind(eps=Fraction(eps, 255), steps=8) for eps in (1, 4, 32)]
    before = ious(model, batch.inputs, batch.labels)
    for rung, found in zip(rungs, rungs[0].sweep(batch, ModelAccess(model=model, batch_size=4), rungs), strict=True):
        rung.check(batch.inputs, found.inputs)
        after = ious(model, found.inputs, batch.labels)
        assert (after <= before).all()
        np.testing.assert_array_equal(found.broken, (after < 0.5).numpy())
        assert found.forwards.tolist() == [rung.passes[0]] * 6
        assert found.backwards.tolist() == [rung.passes[1]] * 6
        before = after
    assert before.mean() < 0.5 * ious(model, batch.inputs, batch.labels).mean()


def test_segpgd_harms_more_than_noise_and_the_ensemble_no_less_than_its_first_loss() -> None:
    model, batch = scene(12)
    access, eps = ModelAccess(model=model, batch_size=5), Fraction(4, 255)
    noise = (batch.inputs + float(eps) * drawn(*batch.inputs.shape, seed=5).sign()).clamp(0, 1)
    attacked = {kind: ious(model, kind(eps=eps, steps=8).apply(batch, access).inputs, batch.labels) for kind in ATTACKS}
    assert attacked[SegPgdLinf].mean() < ious(model, noise, batch.labels).mean() - 0.1
    more = PixelEnsembleLinf(eps=eps, steps=8, restarts=2).apply(batch, access).inputs
    assert attacked[PixelEnsembleLinf].mean() < attacked[PixelPgdLinf].mean() + 0.02
    assert ious(model, more, batch.labels).mean() <= attacked[PixelEnsembleLinf].mean() + 0.02


def test_results_do_not_depend_on_the_batch() -> None:
    model, batch = scene()
    attack = SegPgdLinf(eps=Fraction(4, 255), steps=3, restarts=2)
    whole, alone = (attack.apply(batch, ModelAccess(model=model, batch_size=size)).inputs for size in (6, 1))
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=0)


def test_a_gradient_of_zero_is_noted_and_labels_of_images_are_refused() -> None:
    _, batch = scene()

    class Flat(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.round().detach().mean(1, keepdim=True).repeat(1, 4, 1, 1)

    found = SegPgdLinf(eps=Fraction(4, 255), steps=2).apply(batch, ModelAccess(model=Flat(), batch_size=6))
    assert found.evidence["zero_gradients"] == found.evidence["gradients"] == 6
    other = SampleBatch(inputs=batch.inputs, labels=batch.labels[:, 0, 0], ids=batch.ids, seed=0)
    with pytest.raises(MeasurementError, match="attacks labels of pixels"):
        SegPgdLinf(eps=Fraction(4, 255)).apply(other, ModelAccess(model=Flat(), batch_size=6))
