"""Residual rules, feed-forwards, embeddings."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.embeddings import CratePatchEmbedding, PatchEmbedding, patchify
from robustbench_wb.models.feedforward import Ista, Mlp
from robustbench_wb.models.residual import BoostingResidual, StandardResidual
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.sockets import Context, LayerConfig
from tests.known import known, parts

PLACE = LayerConfig(layer=0, depth=1, width=6, heads=2, dim_head=3, norm_eps=1e-6)
Make = Callable[..., ImageClassifier]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_boosting_family_holds_the_classical_steps() -> None:
    x, x0 = randn(2, 5, 6), randn(2, 5, 6, seed=1)
    f = torch.sin
    cases = {
        (-1.0, 0.0, 1.0, 1.0, 1.0): f(x0 + x) - x,
        (-1.0, 2.0, 1.0, 0.0, 1.0): f(x) - x + 2 * x0,
        (0.9, 0.1, 1.0, 0.0, 1.0): x + f(x) + 0.1 * (x0 - x),
        (1.0, 0.0, -1.0, 1.0, 1.0): x + f(x0 - x),
        (0.25, 0.0, 0.5, 1.0, 0.5): 0.5 * f(x0 + 0.5 * x) - (0.25 + 0.5 - 1.0) * x,
    }
    for coefficients, want in cases.items():
        got = BoostingResidual(PLACE, **dict(zip("abcdt", coefficients, strict=True)))(x, x0, f)
        assert torch.allclose(got, want, rtol=0, atol=1e-14), coefficients
    assert torch.equal(BoostingResidual(PLACE)(x, x0, f), f(x0 + x) - x)
    standard = BoostingResidual(PLACE, a=1.0, b=0.0, c=1.0, d=0.0, t=1.0)
    assert torch.equal(standard(x, x0, f), StandardResidual(PLACE)(x, x0, f))
    assert "a=1.0" in repr(standard)


@torch.no_grad()
def test_a_boosting_model_with_standard_coefficients_is_vit(toy: Make) -> None:
    vit = toy("vit")
    standard = toy("boosting", residual_options={"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0, "t": 1.0})
    literal = toy("boosting")
    x = randn(3, 1, 4, 6)
    assert torch.equal(vit(x), standard(x))
    assert (vit(x) - literal(x)).abs().max() > 1e-3


@torch.no_grad()
def test_boosting_model_is_the_loop_written_out(toy: Make) -> None:
    model = toy("boosting")
    images = randn(3, 1, 4, 6)
    x0, _ = model.embedding((images - model.mean.item()) / model.std.item())
    x = x0
    for block in model.backbone.blocks:
        x = parts(block).attention(parts(block).norm(x0 + x), Context()) - x
        f = block.feedforward
        x = x + parts(f).out(torch.nn.functional.gelu(parts(f).hidden(parts(f).norm(x))))
    want = parts(model).head.linear(parts(model).head.norm(x[:, 0]))
    assert (model(images) - want).abs().max() < 1e-12


@torch.no_grad()
def test_feedforwards_are_their_formulas() -> None:
    x = randn(2, 3, 6)
    ista = Ista(PLACE, eta=0.2, lam=0.3).double()
    z = ista.norm(x)
    for image in range(2):
        for token in range(3):
            column = z[image, token]
            step = 0.2 * ista.dictionary.T @ (column - ista.dictionary @ column)
            want = (column + step - 0.2 * 0.3).clamp(min=0)
            assert (ista(x)[image, token] - want).abs().max() < 1e-12
    assert ista.dictionary.abs().max() <= 1.0  # sqrt(6 / 6)
    assert "lam=0.3" in repr(ista)
    mlp = Mlp(PLACE, ratio=2).double()
    assert mlp.hidden.out_features == 12
    mlp.out.weight.zero_()
    assert torch.equal(mlp(x), x + mlp.out.bias)


def test_patches_are_raster_with_the_channel_fastest() -> None:
    images = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    got = patchify(images, 2)
    assert got.shape == (2, 6, 12)
    for n in range(6):
        r, c = divmod(n, 3)
        want = [images[1, ch, 2 * r + i, 2 * c + j].item() for i in range(2) for j in range(2) for ch in range(3)]
        assert got[1, n].tolist() == want


@pytest.mark.parametrize("kind", [PatchEmbedding, CratePatchEmbedding])
def test_positions_are_added_or_kept_apart(kind: type[PatchEmbedding], toy_shape: ImageShape) -> None:
    images = torch.rand(2, 1, 4, 6)
    added, apart, none = (
        kind(toy_shape, width=8, norm_eps=1e-6, position=where) for where in ("added", "separate", "none")
    )
    assert known(added.positions.table).shape == (7, 8)
    assert known(apart.positions.table).shape == (6, 8)
    assert none.positions.table is None
    tokens, context = added(images)
    assert tokens.shape == (2, 7, 8)
    assert context.positions is None
    tokens, context = apart(images)
    assert torch.equal(tokens[:, 1:], apart.project(patchify(images, 2)))
    assert context.positions is not None
    assert (context.positions[0] == 0).all()
    assert torch.allclose(context.positions[1:].mean(dim=1), torch.zeros(6), atol=1e-5)
    assert context.prefix_tokens == 1
    assert context.coordinates[1:].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert context.carry is not apart(images)[1].carry  # fresh in every forward pass
