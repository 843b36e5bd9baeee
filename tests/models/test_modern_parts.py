"""Parts of newer models: gated feed-forward, RMS norms, register tokens, blocks without a feed-forward half."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.build import build, variant_code_digest
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.embeddings import PatchEmbedding, patchify
from robustbench_wb.models.registers import RegisterPatchEmbedding
from robustbench_wb.models.rms_norm_variant import RmsNormVariant
from robustbench_wb.models.shape import ImageShape, TextShape
from robustbench_wb.models.sockets import Context, LayerConfig
from robustbench_wb.models.swiglu import SwiGlu
from robustbench_wb.models.variant import Variant
from robustbench_wb.models.zoo.baselines import VIT_MODERN
from tests.known import known, parts

PLACE = LayerConfig(layer=0, depth=1, width=6, heads=2, dim_head=3, norm_eps=1e-6)
Make = Callable[..., ImageClassifier]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def test_swiglu_is_its_formula() -> None:
    half, x = SwiGlu(PLACE).double(), randn(2, 3, 6)
    assert half.hidden.out_features == half.gate.out_features == 16  # 2 * 4 * 6 / 3
    got, y = half(x), half.norm(x)
    for image in range(2):
        for token in range(3):
            column = y[image, token]
            units = []
            for gate, b, weight, c in zip(
                half.gate.weight, half.gate.bias, half.hidden.weight, half.hidden.bias, strict=True
            ):
                opened = float(gate @ column + b)
                units.append(opened / (1 + math.exp(-opened)) * float(weight @ column + c))
            want = x[image, token] + half.out.weight @ torch.tensor(units, dtype=torch.float64) + half.out.bias
            assert (got[image, token] - want).abs().max() < 1e-12


@torch.no_grad()
@pytest.mark.parametrize(
    "shape",
    [
        ImageShape(channels=1, height=4, width=6, classes=3, patch=2),
        TextShape(vocabulary=9, length=6, classes=9, causal=True),
    ],
    ids=["images", "language"],
)
def test_every_norm_of_the_modern_vit_divides_by_the_root_mean_square(shape: ImageShape | TextShape) -> None:
    mean, std = ([0.4], [0.3]) if isinstance(shape, ImageShape) else ([], [])
    model = build(VIT_MODERN, "nano", shape, mean=mean, std=std, seed=0)
    assert not [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    norms = [module for module in model.modules() if isinstance(module, nn.RMSNorm)]
    assert len(norms) == 4 * 2 + 1  # two in each block, one in the head
    x = randn(3, 64).float() + 2
    for norm in norms:
        norm.weight.copy_(randn(64, seed=1))
        want = norm.weight * x / (x.square().mean(-1, keepdim=True) + VIT_MODERN.norm_eps).sqrt()
        assert (norm(x) - want).abs().max() < 1e-5


def test_a_variant_with_rms_norms_has_a_digest_of_its_own(toy_shape: ImageShape) -> None:
    layer = Variant.model_validate(VIT_MODERN.model_dump())
    assert variant_code_digest(layer, "nano", toy_shape) != variant_code_digest(VIT_MODERN, "nano", toy_shape)
    assert isinstance(VIT_MODERN.model_copy(update={"norm_eps": 1e-5}), RmsNormVariant)


@torch.no_grad()
def test_registers_stand_behind_the_class_token_and_have_no_position(toy_shape: ImageShape) -> None:
    images = torch.rand(2, 1, 4, 6)
    for position in ("added", "separate"):
        plain = PatchEmbedding(toy_shape, width=8, norm_eps=1e-6, position=position)
        more = RegisterPatchEmbedding(toy_shape, width=8, norm_eps=1e-6, position=position, registers=3)
        more.load_state_dict(plain.state_dict(), strict=False)
        (want, before), (tokens, context) = plain(images), more(images)
        assert torch.equal(tokens[:, [0, *range(4, 10)]], want)
        assert torch.equal(tokens[:, 1:4], more.registers.expand(2, -1, -1))
        assert context.prefix_tokens == 4
        assert torch.equal(context.coordinates[4:], before.coordinates[1:])
        assert (context.coordinates[:4] == 0).all()
    assert torch.equal(known(context.positions)[4:], known(before.positions)[1:])
    assert (known(context.positions)[:4] == 0).all()
    with pytest.raises(UsageError, match="0 or more, not -1"):
        RegisterPatchEmbedding(toy_shape, width=8, norm_eps=1e-6, position="added", registers=-1)


@torch.no_grad()
def test_registers_change_the_answer_through_attention_only(toy: Make) -> None:
    model, images = toy("vit-modern"), randn(3, 1, 4, 6)
    want = model(images)
    registers = parts(model).embedding.registers
    registers.copy_(registers.flip(1))  # they are a set: without positions their order does not matter
    assert (model(images) - want).abs().max() < 1e-12
    registers.add_(1.0)
    assert (model(images) - want).abs().max() > 1e-3


@torch.no_grad()
def test_attention_only_is_subspace_attention_and_skips(toy: Make) -> None:
    model, images = toy("attention-only"), randn(3, 1, 4, 6)
    embedding = parts(model).embedding
    patches = embedding.project(patchify((images - model.mean.item()) / model.std.item(), 2))
    x = torch.cat([embedding.cls.expand(3, -1, -1), patches], dim=1) + embedding.positions.table
    for block in model.backbone.blocks:
        x = x + parts(block).attention(parts(block).norm(x), Context())
    want = parts(model).head.linear(parts(model).head.norm(x[:, 0]))
    assert (model(images) - want).abs().max() < 1e-12
    kept = {name for name, _ in model.named_parameters() if "feedforward" in name}
    assert not kept
    assert VARIANTS.get("attention-only").attention == VARIANTS.get("crate").attention
