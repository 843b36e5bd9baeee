"""Adversarial training against formulas, closed forms and exact certificates."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.special import log_softmax
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.norms import L2_NORM, LINF
from robustbench_wb.training.adversary import START, adversarial_examples, adversarial_loss, divergence
from robustbench_wb.training.loop import TrainingData, TrainingState, make_optimizer, train
from robustbench_wb.training.recipe import Adversary, Recipe
from tests.known import parts
from tests.training.small_runs import CPU, RECIPE, Net, digits, run

PGD = Adversary(method="pgd", eps=Fraction(1, 10), steps=8)
TRADES = Adversary(method="trades", eps=Fraction(1, 10), steps=8, beta=6.0)
METHODS = pytest.mark.parametrize("adversary", [PGD, TRADES], ids=lambda adversary: adversary.method)


def linear(classes: int = 4, pixels: int = 9, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes))


def curved(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 16), nn.GELU(), nn.Linear(16, 4))


def batch(count: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, 1, 3, 3), labels of four classes, ids."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 3, 3, generator=generator)
    return images, torch.randint(4, (count,), generator=generator), torch.arange(count) * 7


def worst(model: nn.Module, given: tuple[Tensor, Tensor, Tensor], adversary: Adversary, **changes: Any) -> Tensor:
    images, labels, ids = given
    options = {"radius": float(adversary.eps), "seed": 0, "epoch": 0} | changes
    return adversarial_examples(model, images, labels, ids=ids, adversary=adversary, **options)


def loss_of(model: nn.Module, given: tuple[Tensor, Tensor, Tensor], recipe: Recipe, progress: float = 1.0) -> Tensor:
    assert recipe.adversary is not None
    images, labels, ids = given
    return adversarial_loss(
        model,
        images,
        labels,
        ids=ids,
        recipe=recipe,
        adversary=recipe.adversary,
        seed=0,
        epoch=0,
        progress=progress,
    )


# --- the loss of the outer minimisation ---


def by_hand(
    weight: NDArray[np.float64], bias: NDArray[np.float64], clean: Tensor, other: Tensor, labels: Tensor, recipe: Recipe
) -> float:
    """Both losses of a linear model in float64, sample by sample and class by class."""
    assert recipe.adversary is not None
    total = 0.0
    for image, changed, label in zip(clean, other, labels.tolist(), strict=True):
        log_p = log_softmax(weight @ image.double().numpy().ravel() + bias)
        log_q = log_softmax(weight @ changed.double().numpy().ravel() + bias)
        judged = log_q if recipe.adversary.beta is None else log_p
        smooth = recipe.label_smoothing
        total -= (1 - smooth) * judged[label] + smooth * judged.mean()
        if recipe.adversary.beta is not None:
            total += recipe.adversary.beta * sum(math.exp(a) * (a - b) for a, b in zip(log_p, log_q, strict=True))
    return total / len(labels)


@METHODS
@pytest.mark.parametrize("smooth", [0.0, 0.2])
def test_the_loss_and_its_gradient_are_the_formula_s(adversary: Adversary, smooth: float) -> None:
    """At the worst images found; the weights are differentiated through both logits of TRADES."""
    model, given = linear(), batch()
    recipe = Recipe(epochs=1, label_smoothing=smooth, adversary=adversary)
    other = worst(model, given, adversary)
    loss = loss_of(model, given, recipe)
    loss.backward()
    layer = model[1]
    weight, bias = (parts(p).detach().double().numpy() for p in (layer.weight, layer.bias))
    assert loss.item() == pytest.approx(
        by_hand(weight, bias, clean=given[0], other=other, labels=given[1], recipe=recipe), rel=1e-5
    )
    for row, column in ((0, 0), (1, 4), (3, 8)):
        ends = []
        for step in (1e-5, -1e-5):
            moved = weight.copy()
            moved[row, column] += step
            ends.append(by_hand(moved, bias, clean=given[0], other=other, labels=given[1], recipe=recipe))
        assert float(parts(layer).weight.grad[row, column]) == pytest.approx(
            (ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-6
        )


def test_divergence_is_zero_only_between_equals() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert divergence(logits, logits + 3).abs().max() < 1e-6
    assert (divergence(logits, logits.flip(1)) > 0.01).all()


# --- the inner maximisation ---


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["pgd", "trades"]),
    st.sampled_from([LINF, L2_NORM]),
    st.fractions(Fraction(1, 100), 1, max_denominator=255),
    st.integers(0, 2**62),
    st.integers(0, 100),
)
def test_the_worst_images_are_worse_and_inside(method: Any, norm: Any, eps: Fraction, seed: int, epoch: int) -> None:
    model, given = curved(), batch()
    images, labels, _ = given
    beta = 1.0 if method == "trades" else None
    adversary = Adversary(method=method, norm=norm.name, eps=eps, steps=5, beta=beta)
    found = worst(model, given, adversary, seed=seed, epoch=epoch)
    assert float(norm.distance(found - images).max()) <= float(eps) + 1e-6
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    clean, other = model(images), model(found)
    if method == "trades":
        assert divergence(clean, other).mean().item() > 0
    else:
        heights = [nn.functional.cross_entropy(logits, labels).item() for logits in (other, clean)]
        assert heights[0] > heights[1]


def test_more_steps_climb_higher() -> None:
    model, given = curved(), batch(64)
    for adversary in (PGD, TRADES):
        heights = []
        for steps in (1, 3, 10):
            other = model(worst(model, given, adversary.model_copy(update={"steps": steps})))
            trades = divergence(model(given[0]), other).mean()
            heights.append((trades if adversary.beta else nn.functional.cross_entropy(other, given[1])).item())
        assert heights[0] < heights[1] < heights[2]


def corners(model: nn.Sequential, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Of two linear classes, where in the Linf ball and the box the margin of ``labels`` is smallest."""
    weight = parts(model)[1].weight.detach()
    uphill = (weight[1 - labels] - weight[labels]).sign().view_as(images)
    return (images + eps * uphill).clamp(0, 1)


def test_linear_models_have_a_worst_image_in_closed_form() -> None:
    model, (images, labels, ids) = linear(classes=2), batch(32)
    labels = labels % 2
    found = worst(model, (images, labels, ids), PGD)
    torch.testing.assert_close(found, corners(model, images, labels, eps=0.1), rtol=0, atol=1e-6)
    ends = [corners(model, images, torch.full_like(labels, label), eps=0.1) for label in (0, 1)]
    for image, first, second in zip(worst(model, (images, labels, ids), TRADES), *ends, strict=True):
        assert min(float((image - end).abs().max()) for end in (first, second)) < 1e-6


def test_linear_models_have_a_worst_image_in_closed_form_in_l2() -> None:
    model, (images, labels, ids) = linear(classes=2), batch(32)
    images, labels = 0.25 + images / 2, labels % 2  # the box is out of reach
    adversary = Adversary(method="pgd", norm="l2", eps=Fraction(1, 10), steps=80)
    weight = parts(model)[1].weight.detach()
    uphill = (weight[1 - labels] - weight[labels]).view_as(images)
    expected = images + 0.1 * uphill / uphill.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(worst(model, (images, labels, ids), adversary), expected, rtol=0, atol=1e-6)


@METHODS
def test_starts_are_counted(adversary: Adversary) -> None:
    model, given = linear(classes=2), batch(8)
    given = (given[0], given[1] % 2, given[2])
    adversary = adversary.model_copy(update={"steps": 1})
    base = worst(model, given, adversary)
    assert torch.equal(base, worst(model, given, adversary))
    assert not torch.equal(base, worst(model, given, adversary, seed=1))
    assert not torch.equal(base, worst(model, given, adversary, epoch=1))
    order = torch.tensor([5, 0, 7, 2])  # others in the batch, and their order, change nothing
    part = (given[0][order], given[1][order], given[2][order])
    torch.testing.assert_close(worst(model, part, adversary), base[order], rtol=0, atol=1e-6)


def test_where_the_ascent_starts() -> None:
    """A model that is constant in its input shows the start: uniform in the ball, or Gaussian beside the image."""
    model = linear()
    nn.init.zeros_(parts(model)[1].weight)
    images, labels, ids = batch(2000)
    images = 0.25 + images / 2
    uniform = (worst(model, (images, labels, ids), PGD) - images).flatten()
    assert float(uniform.abs().max()) <= 0.1 + 1e-6
    assert float(uniform.std()) == pytest.approx(0.1 / math.sqrt(3), rel=0.03)
    gaussian = (worst(model, (images, labels, ids), TRADES) - images).flatten()
    assert float(gaussian.std()) == pytest.approx(START, rel=0.03)


class Watched(nn.Module):
    """Keeps what it was shown, in which mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        self.net.norm.eval()  # frozen on purpose
        self.seen: list[tuple[bool, bool, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_grad_enabled(), images.detach()))
        return self.net(images)


@METHODS
def test_the_inner_loop_leaves_the_model_alone(adversary: Adversary) -> None:
    model = Watched().train()
    model.net.norm.eval()
    split = digits(16)
    given = (torch.tensor(split.inputs).float() / 255, torch.tensor(split.labels), torch.arange(16))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    worst(model, given, adversary)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [training for training, _, _ in model.seen] == [False] * (8 + (adversary.method == "trades"))
    assert model.training
    assert model.net.dropout.training
    assert not model.net.norm.training


def test_modes_come_back_when_the_model_fails() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(5, 4))
    with pytest.raises(RuntimeError):
        worst(model, batch(), PGD)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(("progress", "share"), [(0.125, 0.25), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)])
def test_the_radius_rises(progress: float, share: float) -> None:
    model, given = Watched(), digits(16)
    images = torch.tensor(given.inputs).float() / 255
    recipe = Recipe(epochs=1, adversary=PGD.model_copy(update={"warmup": 0.5}))
    loss_of(model, (images, torch.tensor(given.labels), torch.arange(16)), recipe, progress=progress)
    training, _, last = model.seen[-1]
    assert training  # the outer loss sees the mode of training
    assert float((last - images).abs().max()) == pytest.approx(0.1 * share, rel=1e-4)


# --- training ---


@METHODS
def test_adversarial_training_is_counted(adversary: Adversary, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.model_copy(update={"adversary": adversary})
    first = run(recipe=recipe)
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "other"))
    torch.manual_seed(5)
    second = run(recipe=recipe)
    assert second.fresh
    assert first.weights == second.weights
    assert len({first.weights, run(recipe=recipe, seed=1).weights, run().weights}) == 3


def certified(model: nn.Sequential, data: TrainingData, eps: float) -> float:
    """Share of samples that no change of at most eps in Linf can break: exact for a linear model without the box."""
    weight = parts(model)[1].weight.detach()
    logits = model(data.inputs.float() / 255).detach()
    margins = logits.gather(1, data.labels[:, None]) - logits
    reach = (weight[data.labels][:, None] - weight[None]).abs().sum(2)
    margins = margins - eps * reach
    margins[torch.arange(len(margins)), data.labels] = math.inf
    return float((margins > 0).all(1).float().mean())


@pytest.mark.slow(3)
def test_adversarial_training_certifies_more_of_a_linear_model() -> None:
    split, robust = digits(600), []
    data = TrainingData(torch.tensor(split.inputs), torch.tensor(split.labels))
    assert data.labels.device == CPU
    for adversary in (None, PGD, TRADES):
        model, recipe = linear(10, 64), Recipe(epochs=15, batch=32, learning_rate=0.02, adversary=adversary)
        optimizer = make_optimizer(model, recipe)
        train(
            model,
            optimizer,
            data,
            recipe=recipe,
            seed=0,
            position=TrainingState(0, 0.0),
            advance=lambda n: None,
            snapshot=lambda p: None,
        )
        robust.append(certified(model, data, 0.1))
    assert robust[1] > robust[0] + 0.2
    assert robust[2] > robust[0] + 0.2


# --- the recipe ---


@METHODS
def test_the_adversary_is_part_of_the_identity(adversary: Adversary) -> None:
    recipe = Recipe(epochs=1, adversary=adversary)
    changes: list[dict[str, Any]] = [{"eps": Fraction(1, 11)}, {"steps": 9}, {"step": Fraction(1, 5)}, {"norm": "l2"}]
    others = [recipe.model_copy(update={"adversary": adversary.model_copy(update=change)}) for change in changes]
    assert len({r.digest() for r in (Recipe(epochs=1), recipe, *others)}) == 6
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    "wrong",
    [
        {"eps": 0},
        {"eps": "-8/255"},
        {"steps": 0},
        {"step": 0},
        {"norm": "l1"},
        {"method": "mart"},
        {"warmup": 1.5},
        {"method": "trades", "beta": 0},
        {"epsilon": 1},
    ],
)
def test_adversaries_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Adversary(**({"method": "pgd", "eps": "8/255"} | wrong))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"eps": 0.03}, "not an exact number"),
        ({"eps": "8/0"}, "not a number"),
        ({"method": "trades"}, "trades needs beta .* got method trades and beta None"),
        ({"beta": 6.0}, "pgd takes none; got method pgd and beta 6.0"),
    ],
)
def test_numbers_that_need_a_word(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        Adversary(**({"method": "pgd", "eps": "8/255"} | wrong))
    assert "\n" not in str(caught.value)
