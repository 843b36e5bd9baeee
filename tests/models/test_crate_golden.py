"""The CRATE family against numbers from running the reference implementations in float64 on exactly filled weights."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.autoencoder import MaskedAutoencoder, build_autoencoder
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.build import build
from robustbench_wb.models.references.load import load_reference, to_reference
from robustbench_wb.models.shape import ImageShape, TextShape
from robustbench_wb.models.variant import Size
from robustbench_wb.models.zoo.crate import CRATE, CRATE_MAE
from tests.known import a, parts
from tests.models.golden_fill import fill, filled_state

SHAPE = ImageShape(channels=3, height=32, width=32, classes=10, patch=8)
MINI = {"sizes": {"mini": Size(width=48, depth=3, heads=4, dim_head=12)}}


def shapes(model: nn.Module, variant: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in to_reference(model, variant).items()}


@pytest.fixture(scope="module")
def mini() -> ImageClassifier:
    model = build(CRATE.model_copy(update=MINI), "mini", SHAPE, mean=[0.0] * 3, std=[1.0] * 3, seed=0).double()
    load_reference(model, "crate", filled_state(shapes(model, "crate")))
    return a(ImageClassifier, model)


def coding_rate(projected: Tensor, heads: int) -> Tensor:
    """R^c per image: sum over heads of 1/2 logdet(I + p / (n 0.01) W^T W), tokens scaled to unit length."""
    b, n, inner = projected.shape
    w = torch.nn.functional.normalize(projected.view(b, n, heads, -1).transpose(1, 2), dim=-1)
    p = inner // heads
    gram = torch.eye(p, dtype=w.dtype) + p / (n * 0.01) * w.transpose(-1, -2) @ w
    return 0.5 * torch.logdet(gram).sum(dim=1)


def test_logits_rates_and_sparsity_are_the_reference_s(mini: ImageClassifier) -> None:
    rates: list[Tensor] = []
    fractions: list[float] = []
    hooks = []
    for block in mini.backbone.blocks:
        hooks.append(
            parts(block).attention.subspaces.register_forward_hook(lambda m, i, out: rates.append(coding_rate(out, 4)))
        )
        hooks.append(block.register_forward_hook(lambda m, i, out: fractions.append((out != 0).double().mean().item())))
    with torch.no_grad():
        logits = mini(1.5 * fill(9999, (2, 3, 32, 32)))
    for hook in hooks:
        hook.remove()
    expected = [0.146838197, 0.078846469, 2.372764951, 1.007033874, -0.247852762]
    assert logits[0, :5].tolist() == pytest.approx(expected, abs=1e-8)
    assert logits.sum().item() == pytest.approx(4.007197263, abs=1e-8)
    assert logits.abs().sum().item() == pytest.approx(16.070508528, abs=1e-8)
    assert logits.argmax(dim=1).tolist() == [2, 2]
    assert [r.mean().item() for r in rates] == pytest.approx([95.891591, 96.741528, 92.405264], abs=1e-6)
    assert [r.std().item() for r in rates] == pytest.approx([0.650641, 0.171850, 0.390096], abs=1e-6)
    assert fractions == pytest.approx([0.500613, 0.469975, 0.456495], abs=1e-6)


def test_single_precision_is_near_double(mini: ImageClassifier) -> None:
    x = 1.5 * fill(9999, (2, 3, 32, 32))
    with torch.no_grad():
        exact = mini(x)
        single = deepcopy(mini).float()(x.float())
    assert (exact - single).abs().max() < 1e-5


@pytest.fixture(scope="module")
def autoencoder() -> MaskedAutoencoder:
    variant = CRATE_MAE.model_copy(update=MINI)
    model = build_autoencoder("mini", SHAPE, mean=[0.0] * 3, std=[1.0] * 3, seed=0, variant=variant).double()
    # Saved by the reference, never used, and counted when its weights are filled.
    dead = {"pos_embed": (1, 17, 48), "decoder_embed.weight": (48, 48), "decoder_embed.bias": (48,)}
    loaded = load_reference(model, "crate-mae", filled_state({**shapes(model, "crate-mae"), **dead}))
    assert set(loaded.unused) == set(dead)
    return model


@torch.no_grad()
def test_autoencoder_is_the_reference_s(autoencoder: MaskedAutoencoder) -> None:
    images = 1.5 * fill(9999, (2, 3, 32, 32))
    latent, _ = autoencoder.encode(images)
    assert latent[0, 0, :4].tolist() == pytest.approx(
        [-0.419519967, -0.630853893, -0.563036017, -0.595022905], abs=1e-8
    )
    values = autoencoder(images)
    assert values.shape == (2, 16, 192)
    assert values.sum().item() == pytest.approx(132.811849072, abs=1e-7)
    nothing = torch.zeros(2, 16, dtype=torch.bool)
    assert torch.equal(autoencoder(images, nothing), values)
    assert {parts(block).feedforward.lam for block in autoencoder.backbone.blocks} == {0.5}
    wrong = deepcopy(autoencoder)
    for block in wrong.backbone.blocks:
        parts(block).feedforward.lam = 5.0
    assert (wrong(images) - values).abs().max() > 1e-2  # a wrong lambda fits, and is wrong


@torch.no_grad()
def test_language_model_is_the_reference_s() -> None:
    shape = TextShape(vocabulary=64, length=16, classes=64, causal=True)
    model = build(CRATE.model_copy(update=MINI), "mini", shape, seed=0).double()
    names = shapes(model, "crate")
    assert len(names) == 2 + 3 * 8
    tables = ("transformer.wte.weight", "transformer.wpe.weight")
    load_reference(model, "crate", filled_state(names, halves=tables))
    ids = (torch.arange(24).view(2, 12) * 7 + 3) % 64
    logits = model(ids)
    assert logits[0, -1, :4].tolist() == pytest.approx(
        [-0.204542444, 1.549302001, -1.564368161, -0.233654913], abs=1e-8
    )
    assert logits.sum().item() == pytest.approx(172.695243856, abs=1e-7)
    loss = functional.cross_entropy(logits.flatten(0, 1), ((ids + 1) % 64).flatten())
    assert loss.item() == pytest.approx(5.170491139, abs=1e-8)
