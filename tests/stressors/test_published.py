"""The published protocol compared with loops in normalised space, and its defects on constructed models."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.providers.image_model import ImageModel, Preprocessing
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.stressors.attacks.published import PublishedAttack, PublishedFgsm, SelfLabelledBatch
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.tasks.task import Dataset
from tests.known import parts
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch, perturb

Trained = Callable[[str], nn.Module]
SMALL_SPSA = "published-spsa;eps=1/10;steps=3;samples=4"
MEAN, STD = (0.25,), (0.5,)


class Watched(nn.Module):
    """Two classes, logits (w . z, 0); records its inputs."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        score = images.flatten(1) @ self.weights
        return torch.stack([score, torch.zeros_like(score)], 1)


def planted(inner: nn.Module) -> ImageModel:
    shape = ImageShape(channels=1, height=2, width=2, classes=2, patch=1)
    return ImageModel(
        inner, shape, Preprocessing(height=2, width=2, mean=MEAN, std=STD, interpolation="bilinear"), fresh_head=False
    )


def batch_of(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 256) -> AttackedBatch:
    return attacked_batch(
        model, inputs=images, labels=labels, ids=torch.arange(len(images)), seed=0, batch_size=batch_size
    )


def digits_batch(model: nn.Module, digits: Dataset, count: int, batch_size: int = 256) -> AttackedBatch:
    dtype = next(model.parameters()).dtype
    images = torch.tensor(digits.test.inputs[:count]).to(dtype) / 255
    return batch_of(model, images, torch.tensor(digits.test.labels[:count]), batch_size=batch_size)


@pytest.fixture
def precise(trained: Trained) -> nn.Module:
    """A trained model in float64, so that no sign of a gradient depends on rounding."""
    return deepcopy(trained("vit")).double()


def behind(model: nn.Module) -> tuple[nn.Module, Tensor, Tensor]:
    """The network that takes normalised images, as in the papers' code; with mean and std."""
    network = deepcopy(model)
    mean, std = parts(network).mean.clone()[:, None, None], parts(network).std.clone()[:, None, None]
    parts(network).mean.zero_()
    parts(network).std.fill_(1.0)
    return network, mean, std


def slope(network: nn.Module, z: Tensor, label: Tensor) -> Tensor:
    z = z.clone().requires_grad_(True)
    F.cross_entropy(network(z), label).backward()
    assert z.grad is not None
    return z.grad


def own_start(batch: AttackedBatch, row: int, signature: str, eps: float) -> Tensor:
    uniform = rng.uniform(batch.ids[row : row + 1], tuple(batch.inputs.shape[1:]), seed=0, label=signature)
    return eps * (2 * uniform - 1).double()


def test_fgsm_is_one_step_on_the_normalised_image(precise: nn.Module, digits: Dataset) -> None:
    batch = digits_batch(precise, digits, 60)
    found = parse_stressor("published-fgsm-linf;eps=6/255").apply(batch, batch.access)
    network, mean, std = behind(precise)
    for row in range(60):
        z = (batch.inputs[row : row + 1] - mean) / std
        expected = z + 6 / 255 * slope(network, z, network(z).argmax(1)).sign()
        torch.testing.assert_close(found.inputs[row : row + 1], expected * std + mean, rtol=0, atol=1e-6)
    assert set(found.forwards) == {2}
    assert set(found.backwards) == {1}


@pytest.mark.slow(3)
def test_pgd_is_twenty_steps_of_three_twentieths(precise: nn.Module, digits: Dataset) -> None:
    batch = digits_batch(precise, digits, 20)
    attack = parse_stressor("published-pgd-linf;eps=6/255")
    found = attack.apply(batch, batch.access)
    eps, (network, mean, std) = 6 / 255, behind(precise)
    for row in range(20):
        z = (batch.inputs[row : row + 1] - mean) / std
        label = network(z).argmax(1)
        current = z + own_start(batch, row, attack.signature, eps=eps)
        for _ in range(20):
            current = z + (current + 0.15 * eps * slope(network, current, label).sign() - z).clamp(-eps, eps)
        torch.testing.assert_close(found.inputs[row : row + 1], current * std + mean, rtol=0, atol=1e-6)
    assert set(found.forwards) == {21}
    assert set(found.backwards) == {20}


def test_spsa_is_adam_on_the_slope_at_the_wrong_place(precise: nn.Module, digits: Dataset) -> None:
    batch = digits_batch(precise, digits, 6)
    attack = parse_stressor(SMALL_SPSA)
    found = attack.apply(batch, batch.access)
    eps, (network, mean, std) = 0.1, behind(precise)
    for row in range(6):
        z = (batch.inputs[row : row + 1] - mean) / std
        label = int(network(z).argmax(1))
        moved, first, second = own_start(batch, row, attack.signature, eps=eps), torch.zeros(()), torch.zeros(())
        for step in range(1, 4):
            uniform = rng.uniform(
                batch.ids[row : row + 1], (4, 1, 8, 8), seed=0, label=f"{attack.signature}/probes", step=step - 1
            )
            gradient = torch.zeros_like(z)
            for direction in torch.where(uniform[0] < 0.5, -1.0, 1.0).double():
                for sign in (1, -1):
                    logits = network(2 * z + sign * 0.01 * direction)[0]
                    margin = logits[label] - torch.cat([logits[:label], logits[label + 1 :]]).max()
                    gradient += margin.detach() * sign * direction / (8 * 0.01)
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            rate = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            moved = (moved - 0.01 * rate).clamp(-eps, eps)
        torch.testing.assert_close(found.inputs[row : row + 1], (z + moved) * std + mean, rtol=0, atol=1e-6)


def test_every_probe_of_spsa_lies_around_twice_the_image() -> None:
    inner = Watched(torch.tensor([1.0, -2.0, 3.0, 0.5]))
    images = torch.tensor([[[[0.2, 0.4], [0.6, 0.8]]]])
    perturb(
        parse_stressor("published-spsa;eps=1;steps=3;samples=5;learning_rate=1/2"),
        batch_of(planted(inner), images, torch.tensor([0])),
    )
    z = (images - MEAN[0]) / STD[0]
    own, *probes = inner.seen
    torch.testing.assert_close(own, z)
    assert [len(part) for part in probes] == [10, 10, 10]
    for part in probes:  # whatever the perturbation is by then
        torch.testing.assert_close((part - 2 * z).abs(), torch.full_like(part, 0.01), rtol=0, atol=1e-6)


class Turning(Watched):
    """Logits (s (3 - s), 0) of the sum s: the slope is up at s = 1 and down at s = 2."""

    def forward(self, images: Tensor) -> Tensor:
        total = images.flatten(1).sum(1)
        return torch.stack([total * (3 - total), torch.zeros_like(total)], 1)


def test_where_the_slope_turns_spsa_walks_away_from_the_error_that_pgd_finds() -> None:
    model = planted(Turning(torch.ones(4)))
    images = torch.full((5, 1, 2, 2), 0.25 * STD[0] + MEAN[0])
    batch = batch_of(model, images, torch.zeros(5, dtype=torch.int64))
    pgd, spsa = (
        parse_stressor(f"published-{use};eps=3/10").apply(batch, batch.access)
        for use in ("pgd-linf", "spsa;samples=16")
    )
    assert (model(pgd.inputs).argmax(1) == 1).all()
    assert (model(spsa.inputs)[:, 0] > 0).all()
    assert (spsa.inputs.flatten(1).sum(1) > images.flatten(1).sum(1)).all()


@pytest.mark.slow(5)
def test_spsa_hardly_moves_accuracy_where_pgd_does(trained: Trained, digits: Dataset) -> None:
    model = trained("vit")
    batch = digits_batch(model, digits, 60)

    def right(images: Tensor) -> int:
        with torch.no_grad():
            return int((model(images).argmax(1) == batch.labels).sum())

    pgd, spsa = (
        parse_stressor(f"published-{use};eps=1/10").apply(batch, batch.access)
        for use in ("pgd-linf", "spsa;steps=15;samples=8")
    )
    assert right(pgd.inputs) <= right(batch.inputs) - 6
    assert right(spsa.inputs) >= right(batch.inputs) - 2


def test_own_labels_are_attacked_and_true_ones_ignored() -> None:
    weights = torch.tensor([1.0, -2.0, 3.0, 0.5])
    images = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    z = (images - MEAN[0]) / STD[0]
    class_0 = (z.flatten(1) @ weights > 0).view(-1, 1, 1, 1)
    assert 0 < int(class_0.sum()) < 40
    away = torch.where(class_0, -1.0, 1.0) * weights.sign().view(1, 2, 2)
    for labels in (torch.zeros(40, dtype=torch.int64), torch.ones(40, dtype=torch.int64)):
        found = perturb(
            parse_stressor("published-fgsm-linf;eps=1/4"), batch_of(planted(Watched(weights)), images, labels)
        )
        torch.testing.assert_close(found.inputs, images + away * STD[0] / 4)


@pytest.mark.parametrize("name", ["published-fgsm-linf", "published-pgd-linf", "published-spsa;steps=9;samples=4"])
def test_the_ball_is_in_normalised_units_and_there_is_no_box(name: str, trained: Trained, digits: Dataset) -> None:
    model = trained("vit")
    batch = digits_batch(model, digits, 40)
    found = parse_stressor(f"{name};eps=6/255").apply(batch, batch.access)
    reach = float((found.inputs - batch.inputs).abs().max())
    assert reach == pytest.approx(6 / 255 * float(parts(model).std), rel=1e-4)
    assert reach < 0.5 * 6 / 255
    assert float(found.inputs.min()) == pytest.approx(-reach, rel=1e-4)
    assert float(found.inputs.max()) > 1


@pytest.mark.slow(1)
@pytest.mark.parametrize("name", ["published-fgsm-linf", "published-pgd-linf", "published-spsa;steps=3;samples=4"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_change_nothing_but_rounding(name: str, batch_size: int, precise: nn.Module, digits: Dataset) -> None:
    attack = parse_stressor(f"{name};eps=6/255")
    expected = perturb(attack, digits_batch(precise, digits, 15))
    found = perturb(attack, digits_batch(precise, digits, 15, batch_size=batch_size))
    torch.testing.assert_close(found.inputs, expected.inputs, rtol=0, atol=1e-6)


class Escaping(PublishedFgsm):
    """Faulty attack that goes twice as far as it may."""

    def perturb(self, victims: SelfLabelledBatch) -> Tensor:
        return 2 * super().perturb(victims)


def test_an_attack_that_leaves_its_ball_is_refused() -> None:
    batch = batch_of(planted(Watched(torch.ones(4))), torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(MeasurementError, match="published-fgsm-linf;eps=1/4 left its ball"):
        Escaping(eps="1/4").apply(batch, batch.access)


class Brittle(Watched):
    """Finite logits everywhere, but no finite gradient where the first value is below zero."""

    def forward(self, images: Tensor) -> Tensor:
        first = images.flatten(1)[:, :1]
        return super().forward(images) + 0 * (first * (first > 0)).sqrt()


@pytest.mark.parametrize("name", ["published-fgsm-linf", "published-pgd-linf"])
def test_a_gradient_that_is_not_finite_is_a_failed_search(name: str) -> None:
    images = torch.tensor([[0.1, 0.5, 0.5, 0.5], [0.9, 0.5, 0.5, 0.5]]).view(2, 1, 2, 2)
    batch = batch_of(planted(Brittle(torch.ones(4))), images, torch.zeros(2, dtype=torch.int64))
    found = parse_stressor(f"{name};eps=1/100").apply(batch, batch.access)
    assert found.failed is not None
    np.testing.assert_array_equal(found.failed, [True, False])
    torch.testing.assert_close(found.inputs[0], images[0])
    assert not torch.equal(found.inputs[1], images[1])


def test_without_a_known_normalisation_there_is_one_clear_line(digits: Dataset) -> None:
    attack = parse_stressor("published-pgd-linf;eps=1/255")
    foreign = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(MeasurementError, match="the normalisation inside Sequential is unknown") as caught:
        perturb(attack, digits_batch(foreign, digits, 2))
    assert "\n" not in str(caught.value)
    images = torch.rand(2, 1, 4, 4)
    with pytest.raises(MeasurementError, match="images of 1 x 4 x 4 to 1 x 2 x 2"):
        perturb(attack, batch_of(planted(Watched(torch.ones(4))), images, torch.zeros(2, dtype=torch.int64)))


def test_what_the_protocol_says_of_itself() -> None:
    for name in ("fgsm-linf", "pgd-linf"):
        assert parse_stressor(f"{name};eps=1/255").protocol == "sound"
    for name in ("published-fgsm-linf", "published-pgd-linf", "published-spsa"):
        attack = parse_stressor(f"{name};eps=1/255")
        assert isinstance(attack, PublishedAttack)
        assert attack.protocol == "as-published"
        assert not attack.adversarial()
    assert parse_stressor("published-pgd-linf;eps=1/255").signature == "published-pgd-linf;eps=1/255;steps=20;step=3/20"
    assert parse_stressor("published-spsa;eps=1/10").signature == (
        "published-spsa;eps=1/10;steps=40;samples=128;delta=1/100;learning_rate=1/100"
    )
