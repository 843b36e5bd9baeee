"""CRATE-alpha, CRATE-MAE, CRATE-BERT and causal CRATE: formulas with loops, sizes, masks, starts."""

import math
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.subspace import SubspaceAttention
from robustbench_wb.models.autoencoder import (
    DecoderBlock,
    MaskedAutoencoder,
    build_autoencoder,
    copy_encoder,
    random_patch_mask,
)
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.build import build, skeleton
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.feedforward import Ista
from robustbench_wb.models.overcomplete_dictionary import OvercompleteDictionary
from robustbench_wb.models.shape import ImageShape, TextShape
from robustbench_wb.models.sincos import SincosPatchEmbedding, sincos_grid
from robustbench_wb.models.sockets import Context, LayerConfig
from robustbench_wb.models.variant import Size, Variant
from robustbench_wb.models.zoo.crate import CRATE, CRATE_ALPHA, CRATE_BERT, CRATE_MAE
from tests.known import a, known, parts

PLACE = LayerConfig(layer=0, depth=1, width=6, heads=2, dim_head=3, norm_eps=1e-6)
TOY = {"sizes": {"toy": Size(width=8, depth=2, heads=2)}}
Make = Callable[..., ImageClassifier]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def norm(x: Tensor, eps: float) -> list[float]:
    """Layer norm of one token, without scale and shift."""
    mean = sum(x.tolist()) / len(x)
    variance = sum((v - mean) ** 2 for v in x.tolist()) / len(x)
    return [(v - mean) / math.sqrt(variance + eps) for v in x.tolist()]


@torch.no_grad()
def test_odl_is_two_steps_from_zero_written_out() -> None:
    odl = OvercompleteDictionary(PLACE, eta=0.2, lam=0.3, ratio=2).double()
    x, d, m = randn(2, 3, 6), 6, 12
    D, D1 = odl.dictionary.tolist(), odl.decoder.tolist()
    codes, outputs = odl.code(x), odl(x)
    assert codes.shape == (2, 3, m)
    for image in range(2):
        for token in range(3):
            y = norm(x[image, token], 1e-6)
            z = [0.0] * m
            for _ in range(2):
                error = [sum(D[i][j] * z[j] for j in range(m)) - y[i] for i in range(d)]
                z = [max(0.0, z[j] - 0.2 * sum(D[i][j] * error[i] for i in range(d)) - 0.2 * 0.3) for j in range(m)]
            want = [x[image, token, i].item() + sum(D1[i][j] * z[j] for j in range(m)) for i in range(d)]
            assert codes[image, token].tolist() == pytest.approx(z, abs=1e-12)
            assert outputs[image, token].tolist() == pytest.approx(want, abs=1e-12)
    assert 0.1 < (codes == 0).double().mean() < 0.9
    assert "lam=0.3" in repr(odl)


@torch.no_grad()
def test_decoder_block_is_its_formula() -> None:
    block = DecoderBlock(PLACE).double()
    x = randn(1, 4, 6)
    A, U, W, b = (parts(t).tolist() for t in (block.dictionary, block.attention.subspaces.weight,
                                       block.attention.out.weight, block.attention.out.bias))  # fmt: skip
    d, n, p = 6, 4, 3
    y = []
    for token in range(n):
        u = norm(x[0, token], 1e-6)
        y.append([sum(A[i][j] * u[j] for j in range(d)) for i in range(d)])
    z = [norm(torch.tensor(row, dtype=torch.float64), 1e-6) for row in y]
    w = [[sum(U[i][j] * z[t][j] for j in range(d)) for i in range(d)] for t in range(n)]
    got = block(x, Context())
    for t in range(n):
        mixed: list[float] = []
        for head in (slice(0, p), slice(p, 2 * p)):
            weights = [
                math.exp(sum(a * c for a, c in zip(w[t][head], w[s][head], strict=True)) / math.sqrt(p))
                for s in range(n)
            ]
            mixed += [sum(weights[s] * w[s][head][i] for s in range(n)) / sum(weights) for i in range(p)]
        want = [y[t][i] - sum(W[i][j] * mixed[j] for j in range(d)) - b[i] for i in range(d)]
        assert got[0, t].tolist() == pytest.approx(want, abs=1e-12)


@torch.no_grad()
def test_one_head_as_wide_as_the_model_has_no_out_map() -> None:
    lone = SubspaceAttention(LayerConfig(layer=0, depth=1, width=6, heads=1, dim_head=6, norm_eps=1e-6)).double()
    x = randn(2, 5, 6)
    w = x @ lone.subspaces.weight.T
    want = torch.softmax(w @ w.transpose(1, 2) / math.sqrt(6), dim=-1) @ w
    assert torch.allclose(lone(x, Context()), want, rtol=0, atol=1e-12)
    assert [name for name, _ in lone.named_parameters()] == ["subspaces.weight"]


@pytest.mark.parametrize(
    ("size", "patch", "published"),
    [
        ("base", 16, 72_328_936),
        ("base", 32, 73_985_512),
        ("base", 8, 72_338_152),
        ("large", 14, 253_650_920),
        ("large", 32, 255_982_568),
        ("large", 8, 253_786_088),
        ("small", 16, 40_975_912),
        ("huge", 14, 526_819_560),
    ],
)
def test_alpha_has_the_published_sizes(size: str, patch: int, published: int) -> None:
    shape = ImageShape(channels=3, height=224, width=224, classes=1000, patch=patch)
    assert sum(p.numel() for p in skeleton(CRATE_ALPHA, size, shape).parameters()) == published


def test_language_model_has_the_published_size() -> None:
    shape = TextShape(vocabulary=50_304, length=1024, classes=50_304, causal=True)
    assert sum(p.numel() for p in skeleton(CRATE, "base", shape).parameters()) == 60_699_648


@pytest.mark.parametrize(("size", "published"), [("tiny", 11_555_328), ("small", 25_405_824), ("base", 44_638_464)])
def test_autoencoder_has_the_published_sizes(size: str, published: int) -> None:
    shape = ImageShape(channels=3, height=224, width=224, classes=1, patch=16)
    model = build_autoencoder(size, shape, mean=[0.5] * 3, std=[0.5] * 3, seed=0)
    d = CRATE_MAE.size(size).width
    never_used = d * d + d  # the reference saves a linear map that it does not use, and two tables of positions
    assert sum(p.numel() for p in model.parameters()) + 2 * 197 * d + never_used == published


def test_starts() -> None:
    shape = ImageShape(channels=3, height=32, width=32, classes=10, patch=4)
    alpha = build(CRATE_ALPHA, "nano", shape, mean=[0.5] * 3, std=[0.5] * 3, seed=0)
    half = alpha.backbone.blocks[0].feedforward
    for matrix in (parts(half).dictionary, parts(half).decoder):
        assert 0.95 < parts(matrix).abs().max() / math.sqrt(6 / 64) <= 1.0  # fan-in is d for both
    assert 0.95 < parts(alpha).backbone.blocks[0].attention.subspaces.weight.abs().max() / math.sqrt(6 / 128) <= 1.0
    assert parts(alpha).backbone.blocks[0].attention.out.bias is None
    assert (parts(alpha).backbone.blocks[0].norm.eps, parts(alpha).head.norm.eps) == (1e-6, 1e-5)
    mae = build(CRATE_MAE, "nano", shape, mean=[0.5] * 3, std=[0.5] * 3, seed=0)
    assert 0.95 < parts(mae).backbone.blocks[0].attention.subspaces.weight.abs().max() / math.sqrt(6 / 128) <= 1.0
    assert (parts(mae).backbone.blocks[0].norm.eps, parts(mae).head.norm.eps) == (1e-5, 1e-6)
    assert parts(mae).backbone.blocks[0].feedforward.lam == 0.5


@torch.no_grad()
def test_eta_and_lambda_travel_with_the_weights() -> None:
    one, other = Ista(PLACE, eta=0.2, lam=0.7), Ista(PLACE)
    other.load_state_dict(one.state_dict())
    assert (other.eta, other.lam) == (0.2, 0.7)
    x = torch.randn(2, 3, 6)
    assert torch.equal(one(x), other(x))
    single = deepcopy(one).half().double()
    assert (single.eta, single.lam) == (0.2, 0.7)  # numbers of the formula, not weights
    bare = {name: tensor for name, tensor in one.state_dict().items() if "extra" not in name}
    with pytest.raises(RuntimeError, match="_extra_state"):
        other.load_state_dict(bare)


def test_positions_are_those_of_masked_autoencoders(toy_shape: ImageShape) -> None:
    grid = sincos_grid(2, 3, 8)
    for row in range(2):
        for column in range(3):
            want: list[float] = []
            for place in (column, row):  # the column comes first
                want += [math.sin(place), math.sin(place / 100), math.cos(place), math.cos(place / 100)]
            assert grid[3 * row + column].tolist() == pytest.approx(want, abs=1e-12)
    added = SincosPatchEmbedding(toy_shape, width=8, norm_eps=1e-6, position="added")
    assert known(added.positions.table).shape == (7, 8)
    assert (known(added.positions.table)[0] == 0).all()
    assert torch.equal(known(added.positions.table)[1:], grid.float())
    assert "positions.table" not in dict(added.named_parameters())
    assert "positions.table" in added.state_dict()
    separate = SincosPatchEmbedding(toy_shape, width=8, norm_eps=1e-6, position="separate")
    assert known(separate.positions.table).shape == (6, 8)
    assert SincosPatchEmbedding(toy_shape, width=8, norm_eps=1e-6, position="none").positions.table is None
    with pytest.raises(UsageError, match="multiple of 4"):
        SincosPatchEmbedding(toy_shape, width=6, norm_eps=1e-6, position="added")


def test_masks_are_counted() -> None:
    ids = torch.arange(400)
    hidden = random_patch_mask(ids, 16, 0.75, seed=3)
    assert (hidden.sum(dim=1) == 12).all()
    assert (random_patch_mask(ids, 7, 0.5, seed=3).sum(dim=1) == 4).all()  # int(3.5) are shown
    assert torch.equal(random_patch_mask(ids[100:], 16, 0.75, seed=3), hidden[100:])
    for other in (random_patch_mask(ids, 16, 0.75, seed=4), random_patch_mask(ids, 16, 0.75, seed=3, step=1)):
        assert (other != hidden).any()
    share = hidden.double().mean(dim=0)  # 0.75 with a standard error of 0.022
    assert (share - 0.75).abs().max() < 0.1
    for ratio in (0.0, 1.0, -0.5, math.nan):
        with pytest.raises(UsageError, match="mask ratio"):
            random_patch_mask(ids, 16, ratio, seed=3)


@pytest.fixture
def autoencoder(toy_shape: ImageShape) -> MaskedAutoencoder:
    return build_autoencoder(
        "toy", toy_shape, mean=[0.4], std=[0.3], seed=0, variant=CRATE_MAE.model_copy(update=TOY)
    ).double()


@torch.no_grad()
def test_hidden_patches_are_not_seen(autoencoder: MaskedAutoencoder) -> None:
    images = torch.rand(2, 1, 4, 6, dtype=torch.float64)
    hidden = torch.tensor([[True, False, True, False, False, True], [False, True, True, True, False, False]])
    before = autoencoder(images, hidden)
    changed = images.clone()
    changed[0, :, :2, :2] = 0.9  # patch 0 of the first image, hidden
    assert torch.equal(autoencoder(changed, hidden), before)
    changed[0, :, :2, 2:4] = 0.9  # patch 1, shown
    assert (autoencoder(changed, hidden) - before)[0].abs().max() > 1e-6
    one = torch.cat([autoencoder(images[i : i + 1], hidden[i : i + 1]) for i in range(2)])
    assert torch.allclose(one, before, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("normalise", [False, True])
def test_loss_is_its_formula(autoencoder: MaskedAutoencoder, normalise: bool) -> None:
    images = torch.rand(2, 1, 4, 6, dtype=torch.float64)
    hidden = random_patch_mask(torch.arange(2), 6, 0.5, seed=0)
    values = autoencoder(images, hidden)
    errors = []
    for image in range(2):
        for patch in range(6):
            row, column = divmod(patch, 3)
            square = images[image, 0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten()
            target = (square - autoencoder.mean) / autoencoder.std
            if normalise:
                target = (target - target.mean()) / (((target - target.mean()) ** 2).sum() / 3 + 1e-6).sqrt()
            if hidden[image, patch]:
                errors.append(((values[image, patch] - target) ** 2).mean().item())
    assert len(errors) == 6
    assert autoencoder.loss(images, hidden, normalise).item() == pytest.approx(sum(errors) / 6, abs=1e-12)
    with pytest.raises(UsageError, match="no patch is hidden"):
        autoencoder.loss(images, torch.zeros_like(hidden))


def test_autoencoder_gradients_are_those_of_finite_differences(autoencoder: MaskedAutoencoder) -> None:
    images = torch.rand(2, 1, 4, 6, dtype=torch.float64, requires_grad=True)
    hidden = random_patch_mask(torch.arange(2), 6, 0.5, seed=0)
    assert torch.autograd.gradcheck(lambda x: autoencoder.loss(x, hidden), (images,))
    autoencoder.loss(images, hidden).backward()
    assert not [name for name, p in autoencoder.named_parameters() if p.grad is None]


@torch.no_grad()
def test_encoder_goes_to_the_classifier(autoencoder: MaskedAutoencoder, toy: Make, toy_shape: ImageShape) -> None:
    classifier = toy("crate-mae")
    head = deepcopy(classifier.head.linear)
    for block in autoencoder.backbone.blocks:
        parts(block).feedforward.lam = 5.0
    copy_encoder(autoencoder, classifier)
    images = torch.rand(2, 1, 4, 6, dtype=torch.float64)
    latent, _ = autoencoder.encode(images)
    assert torch.equal(classifier(images), parts(head)(latent[:, 0]))
    larger = build(CRATE_MAE, "nano", toy_shape, mean=[0.4], std=[0.3], seed=0)
    with pytest.raises(UsageError, match="does not fit"):
        copy_encoder(autoencoder, a(ImageClassifier, larger))
    with pytest.raises(UsageError, match="does not fit"):
        copy_encoder(autoencoder, toy("vit"))


def test_autoencoder_needs_patches(toy_shape: ImageShape) -> None:
    with pytest.raises(UsageError, match="patch embedding and a class-token head"):
        build_autoencoder("nano", toy_shape, mean=[0.4], std=[0.3], seed=0, variant=VARIANTS.get("bert"))


@torch.no_grad()
@pytest.mark.parametrize("variant", [CRATE, CRATE_ALPHA, CRATE_MAE, CRATE_BERT], ids=lambda v: v.name)
def test_texts_know_neither_padding_nor_the_future(variant: Variant) -> None:
    recipe = variant.model_copy(update=TOY)
    ids = torch.tensor([[5, 3, 9, 2, 7, 0, 0], [4, 1, 1, 8, 2, 6, 3]])
    reader = build(recipe, "toy", TextShape(vocabulary=11, length=9, classes=3), seed=0).double()
    assert torch.allclose(reader(ids)[:1], reader(ids[:1, :5]), rtol=0, atol=1e-12)
    writer = build(recipe, "toy", TextShape(vocabulary=11, length=9, classes=11, causal=True), seed=0).double()
    later = ids.clone()
    later[1, 4:] = torch.tensor([9, 9, 10])
    assert torch.allclose(writer(ids)[1, :4], writer(later)[1, :4], rtol=0, atol=1e-12)
    assert (writer(ids)[1, 4:] - writer(later)[1, 4:]).abs().max() > 1e-6


@torch.no_grad()
def test_bert_of_crate_is_its_layers_written_out() -> None:
    shape = TextShape(vocabulary=11, length=5, classes=3)
    model = build(CRATE_BERT.model_copy(update=TOY), "toy", shape, seed=0).double()
    ids = torch.tensor([[5, 3, 9, 2, 7]])
    table = parts(model).embedding.words.weight[ids] + parts(model).embedding.positions.table[:5]
    x = torch.stack([torch.tensor(norm(token, 1e-12), dtype=torch.float64) for token in table[0]])
    for block in model.backbone.blocks:
        a = torch.stack([torch.tensor(norm(token, 1e-12), dtype=torch.float64) for token in x])
        w = a @ parts(block).attention.subspaces.weight.T
        heads = [torch.softmax(part @ part.T / 2.0, dim=-1) @ part for part in w.split(4, dim=1)]
        half = x + torch.cat(heads, dim=1) @ parts(block).attention.out.weight.T
        z = torch.stack([torch.tensor(norm(token, 1e-12), dtype=torch.float64) for token in half])
        D = parts(block).feedforward.dictionary
        x = torch.relu(z + 0.1 * (z @ D - z @ D.T @ D) - 0.1 * 0.1)
    pooled = torch.tanh(parts(model).head.pooler(x[:1]))
    assert torch.allclose(model(ids), parts(model).head.linear(pooled), rtol=0, atol=1e-10)
