"""CRATE against numbers from running the reference implementation in float64 on exactly filled weights."""

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from robustbench_wb.errors import CheckpointError
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.build import build
from robustbench_wb.models.reference import from_reference, load_reference, to_reference
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.variant import Size
from robustbench_wb.models.zoo.crate import CRATE

MASK = (1 << 64) - 1
SHAPE = ImageShape(channels=3, height=32, width=32, classes=10, patch=8)


def fill(tensor: int, shape: tuple[int, ...]) -> Tensor:
    """Numbers in [-1, 1) that any language can make: SplitMix64 of the element's index."""
    values = []
    for j in range(math.prod(shape)):
        z = ((j + 1 + (tensor << 32)) * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        values.append(2.0 * ((z >> 11) * 2.0**-53) - 1.0)
    return torch.tensor(values, dtype=torch.float64).view(shape)


def filled(name: str, tensor: int, shape: tuple[int, ...]) -> Tensor:
    f = fill(tensor, shape)
    if name in ("pos_embedding", "cls_token"):
        return 0.5 * f
    if len(shape) == 1:
        return 1.0 + 0.1 * f if name.endswith("weight") else 0.1 * f
    return f * math.sqrt(3.0 / shape[-1])


@pytest.fixture(scope="module")
def mini() -> ImageClassifier:
    recipe = CRATE.model_copy(update={"sizes": {"mini": Size(width=48, depth=3, heads=4, dim_head=12)}})
    model = build(recipe, "mini", SHAPE, [0.0] * 3, [1.0] * 3, seed=0).double()
    names = to_reference("crate", model.state_dict())
    state = {name: filled(name, t, tuple(names[name].shape)) for t, name in enumerate(sorted(names))}
    load_reference(model, "crate", state)
    return model


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
            block.attention.subspaces.register_forward_hook(lambda m, i, out: rates.append(coding_rate(out, 4)))
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


def test_reference_names_go_there_and_back(mini: ImageClassifier) -> None:
    state = {name: value for name, value in mini.state_dict().items() if name not in ("mean", "std")}
    theirs = to_reference("crate", mini.state_dict())
    assert len(theirs) == 12 + 8 * 3
    wrapped = {f"module.{name}": value for name, value in theirs.items()}
    for given in (theirs, wrapped, {"state_dict": wrapped, "epoch": 3}, {"model": theirs}):
        assert from_reference("crate", given).keys() == state.keys()
    assert all(torch.equal(from_reference("crate", theirs)[name], state[name]) for name in state)


def test_every_wrong_checkpoint_names_the_weight(mini: ImageClassifier) -> None:
    theirs = to_reference("crate", mini.state_dict())
    for lost in theirs:
        less = {name: value for name, value in theirs.items() if name != lost}
        with pytest.raises(CheckpointError, match=lost.replace(".", r"\.")):
            from_reference("crate", less)
    with pytest.raises(CheckpointError, match=r"unknown head\.weight"):
        from_reference("crate", {**theirs, "head.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"cls_token.*str"):
        from_reference("crate", {**theirs, "cls_token": "x"})
    with pytest.raises(CheckpointError, match="vit"):
        from_reference("vit", theirs)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_reference(mini, "crate", {**theirs, "cls_token": torch.zeros(1, 1, 7)})
    with pytest.raises(CheckpointError, match="norm"):
        to_reference("crate", {k: v for k, v in mini.state_dict().items() if k != "head.norm.weight"})
    with pytest.raises(CheckpointError, match="vit"):
        to_reference("vit", theirs)
