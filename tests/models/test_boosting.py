"""The arms of the residual axis: each against its recursion, and the grid of arms without holes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.catalogue import RESIDUALS, VARIANTS
from robustbench_wb.models.learned_boosting import LearnedBoostingResidual
from robustbench_wb.models.residual import BoostingResidual, StandardResidual
from robustbench_wb.models.sockets import LayerConfig
from tests.known import parts

PLACE = LayerConfig(layer=0, depth=1, width=6, heads=2, dim_head=3, norm_eps=1e-6)
Make = Callable[..., ImageClassifier]
Step = Callable[[Tensor, Tensor, Callable[[Tensor], Tensor]], Tensor]

RECURSIONS: dict[str, Step] = {
    "boosting": lambda x, y, f: f(y + x) - x,
    "boosting-rho-tau": lambda x, y, f: f(y + x / 2) / 2 - (1 / 4 + 1 / 2 - 1) * x,
    "boosting-pull": lambda x, y, f: x + f(x) + (y - x) / 10,
    "boosting-l2": lambda x, y, f: x + f(y - x),
    "boosting-learned": lambda x, y, f: x + f(x),  # at the start
}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def residual(name: str) -> torch.nn.Module:
    variant = VARIANTS.get(name)
    return RESIDUALS.get(variant.residual)(PLACE, **variant.residual_options).double()


@torch.no_grad()
@pytest.mark.parametrize("name", RECURSIONS)
def test_each_arm_is_its_recursion(name: str) -> None:
    rule, step = residual(name), RECURSIONS[name]
    matrix = randn(6, 6, seed=2) / 4

    def f(z: Tensor) -> Tensor:
        return torch.tanh(z @ matrix)

    y = randn(2, 5, 6)
    got = want = y + randn(2, 5, 6, seed=1)
    for _ in range(4):
        got, want = rule(got, y, f), step(want, y, f)
    assert (got - want).abs().max() < 1e-12


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("boosting", lambda k: k / (2 - k)),
        ("boosting-rho-tau", lambda k: k / (1 + 0.5 - 0.5 * k)),
        ("boosting-l2", lambda k: 1.0),
    ],
)
def test_a_linear_filter_settles_at_the_published_gain(name: str, gain: Callable[[float], float]) -> None:
    rule, y = residual(name), randn(1, 1, 6)
    for k in (0.3, 0.5, 0.7, 0.9):
        x = torch.zeros_like(y)
        for _ in range(300):
            x = rule(x, y, lambda z, k=k: k * z)
        assert (x - gain(k) * y).abs().max() < 1e-8


@torch.no_grad()
def test_learned_boosting_starts_as_the_standard_residual_and_holds_the_family(toy: Make) -> None:
    images = randn(3, 1, 4, 6)
    learned = VARIANTS.get("boosting-learned").sizes
    assert learned == VARIANTS.get("vit").sizes
    x, y = randn(2, 5, 6), randn(2, 5, 6, seed=1)
    rule = LearnedBoostingResidual(PLACE).double()
    assert rule.coefficients.tolist() == [1, 0, 1, 0]
    assert torch.equal(rule(x, y, torch.sin), StandardResidual(PLACE)(x, y, torch.sin))
    rule.coefficients.copy_(torch.tensor([0.3, -0.7, 1.1, 0.4]))
    fixed = BoostingResidual(PLACE, a=0.3, b=-0.7, c=1.1, d=0.4)
    assert torch.allclose(rule(x, y, torch.sin), fixed(x, y, torch.sin), atol=1e-6)
    vit, model = toy("vit"), toy("boosting-learned")
    model.load_state_dict(vit.state_dict(), strict=False)
    assert (model(images) - vit(images)).abs().max() > 1e-3  # the toy's coefficients are moved
    for block in model.backbone.blocks:
        parts(block).residual.coefficients.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert torch.equal(model(images), vit(images))


def test_learned_coefficients_get_gradients_where_they_can_matter(toy: Make) -> None:
    model = toy("boosting-learned")
    model(randn(3, 1, 4, 6)).square().sum().backward()
    for block in model.backbone.blocks:
        assert (parts(block).residual.coefficients.grad.abs() > 1e-8).all()


def test_every_two_by_two_table_has_its_four_cells() -> None:
    attentions = {"": "vit", "bilateral": "bilateral", "bilateral-untied": "bilateral-untied"}
    residuals = {"": "vit", "boosting": "boosting", "boosting-rho-tau": "boosting-rho-tau"}
    for mixing, left in attentions.items():
        for joining, right in residuals.items():
            both = VARIANTS.get("-".join(part for part in (mixing, joining) if part) or "vit")
            one, two = VARIANTS.get(left), VARIANTS.get(right)
            assert (both.attention, both.attention_options) == (one.attention, one.attention_options)
            assert (both.residual, both.residual_options) == (two.residual, two.residual_options)
            rest = {"feedforward", "embedding", "head", "norm", "norm_eps", "initialisation", "sizes"}
            assert both.model_dump(include=rest) == VARIANTS.get("vit").model_dump(include=rest)
