"""ReduNet: its layer against the equations over explicit shifts, and what the construction from data promises."""

from copy import deepcopy
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.rate_reduction import RateReduction
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.data_built import build_from_data, is_data_built
from robustbench_wb.models.nearest_subspace import NearestSubspaceHead
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.models.shape import ImageShape, Shape, TextShape
from robustbench_wb.models.sockets import Context, LayerConfig
from robustbench_wb.models.variant import Size
from robustbench_wb.tasks.digits import DIGITS
from tests.known import a, parts

EPS2, ETA, SHARPNESS = 0.1, 0.5, 500.0
"""Squared distortion, step and sharpness of the published experiments."""
Array = NDArray[np.float64]


def shifts(z: Array) -> Array:
    """All circular shifts of a sample (rows, columns, d), one per row."""
    rows, columns, _ = z.shape
    return np.stack([np.roll(z, (i, j), (0, 1)).ravel() for i in range(rows) for j in range(columns)])


def moments(samples: Array) -> Array:
    """Sum over samples of the second moments of their shifts, each the mean over shifts."""
    return sum((shifts(z).T @ shifts(z) / (z.shape[0] * z.shape[1]) for z in samples), np.zeros(()))


def operator(samples: Array) -> Array:
    """``alpha (I + alpha S)^-1`` with ``alpha = d / (M eps^2)``."""
    alpha, s = samples.shape[-1] / (len(samples) * EPS2), moments(samples)
    return alpha * np.linalg.inv(np.eye(len(s)) + alpha * s)


def rate(samples: Array) -> float:
    """Coding rate ``1/2 logdet(I + alpha S)``, nats."""
    alpha, s = samples.shape[-1] / (len(samples) * EPS2), moments(samples)
    return float(np.linalg.slogdet(np.eye(len(s)) + alpha * s)[1] / 2)


def rate_reduction(samples: Array, labels: NDArray[np.int64]) -> float:
    """Rate of all samples minus the rates of the classes, weighted by their shares."""
    return rate(samples) - sum(float((labels == j).mean()) * rate(samples[labels == j]) for j in np.unique(labels))


def layer_by_equations(train: Array, labels: NDArray[np.int64], z: Array) -> Array:
    """One layer, built from ``train``, applied to the sample ``z``: the next features, of unit length."""
    expand = operator(train)
    compress = [operator(train[labels == j]) for j in range(labels.max() + 1)]
    left = [c @ z.ravel() for c in compress]
    scores = np.array([-SHARPNESS * np.linalg.norm(one) for one in left])
    member = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    share = [float((labels == j).mean()) for j in range(labels.max() + 1)]
    step = expand @ z.ravel() - sum(g * p * one for g, p, one in zip(share, member, left, strict=True))
    moved = z.ravel() + ETA * step
    return (moved / np.linalg.norm(moved)).reshape(z.shape)


def samples(count: int, *grid: int, seed: int = 0) -> tuple[Array, NDArray[np.int64]]:
    """Samples of three classes, of unequal sizes and not centred, of unit length."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count) * generator.integers(0, 2, count)
    labels[:3] = (0, 1, 2)
    z = generator.standard_normal((count, *grid)) * 0.4 + generator.standard_normal((3, *grid))[labels]
    return z / np.linalg.norm(z.reshape(count, -1), axis=1)[:, None, None, None], labels


@pytest.mark.parametrize("grid", [(4, 4, 3), (3, 5, 2), (2, 1, 4), (1, 1, 5)])
def test_a_layer_is_the_step_over_all_shifts(grid: tuple[int, int, int]) -> None:
    rows, columns, width = grid
    config = LayerConfig(layer=0, depth=1, width=width, heads=1, dim_head=width, norm_eps=1e-6)
    layer = RateReduction(config, classes=3, rows=rows, columns=columns).double()
    train, labels = samples(40, *grid)
    layer.fit(torch.from_numpy(train).reshape(40, -1, width), torch.from_numpy(labels))
    others, _ = samples(5, *grid, seed=1)
    x = torch.from_numpy(np.concatenate([train[:5], others])).reshape(10, -1, width)
    moved = (x + layer(x, Context())).detach().numpy().reshape(10, *grid)
    for z, got in zip([*train[:5], *others], moved, strict=True):
        want = layer_by_equations(train, labels, z)
        assert np.abs(got / np.linalg.norm(got) - want).max() < 1e-10
    assert layer.shares.tolist() == pytest.approx([(labels == j).mean() for j in range(3)])


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = DIGITS.load(None)
    return torch.tensor(np.asarray(data.train.inputs[:300])), torch.tensor(data.train.labels[:300]).long()


@cache
def built() -> Transformer:
    """A model of four layers, built from 300 digits."""
    variant = VARIANTS.get("redunet").model_copy(update={"sizes": {"toy": Size(width=8, depth=4, heads=1)}})
    shape = DIGITS.load(None).shape
    model = build(variant, "toy", shape, mean=[0.3], std=[0.35], seed=0).double()
    build_from_data(model, digits()[0], digits()[1])
    return model.eval().requires_grad_(False)


def features(model: Transformer, images: Tensor) -> list[Tensor]:
    """The stream before the first block, and after each, (M, N, d)."""
    x, context = model.embed(images.double() / 255)
    found = [x]
    for block in model.backbone.blocks:
        found.append(block(found[-1], x, context))
    return found


def test_every_layer_raises_the_rate_reduction_of_the_training_data() -> None:
    images, labels = digits()
    streams = [x.reshape(len(x), 4, 4, -1).numpy() for x in features(built(), images)]
    assert all(np.linalg.norm(x.reshape(len(x), -1), axis=1) == pytest.approx(1) for x in streams)
    rates = [rate_reduction(x, labels.numpy()) for x in streams]
    assert all(later > 1.02 * earlier for earlier, later in pairwise(rates)), rates


def test_layers_are_built_one_after_the_other() -> None:
    """The second layer comes from what the first one makes of the data."""
    images, labels = digits()
    (_, first, *_), (one, two, *_) = features(built(), images), built().backbone.blocks
    again = RateReduction(
        LayerConfig(layer=0, depth=1, width=8, heads=1, dim_head=8, norm_eps=1e-6), classes=10, rows=4, columns=4
    ).double()
    again.fit(first, labels)
    assert torch.allclose(again.expand, parts(two).attention.expand, atol=1e-9)
    assert (again.expand - parts(one).attention.expand).abs().max() > 1e-4


def test_the_largest_logit_is_the_nearest_subspace() -> None:
    images, labels = digits()
    last = features(built(), images)[-1].flatten(1).numpy()
    distances = []
    for j in range(10):
        span = np.linalg.svd(last[labels.numpy() == j], full_matrices=False)[2][:10]
        distances.append(np.linalg.norm(last - last @ span.T @ span, axis=1))
    want = np.stack(distances, 1)
    got = built()(images.double() / 255).numpy()
    assert np.allclose(got, 20 * (1 - want**2), atol=1e-8)
    assert (got.argmax(1) == labels.numpy()).mean() > 0.95


def test_classes_with_few_samples_or_none_are_no_trouble() -> None:
    head = NearestSubspaceHead(2, 3, 1e-6, tokens=6)
    rows = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(0))
    head.fit(rows, torch.tensor([0, 0, 0, 2]))
    assert (head.bases.detach().norm(dim=2) > 0.5).sum(1).tolist() == [3, 0, 1]
    config = LayerConfig(layer=0, depth=1, width=2, heads=1, dim_head=2, norm_eps=1e-6)
    layer = RateReduction(config, classes=3, rows=2, columns=3)
    layer.fit(rows, torch.tensor([0, 0, 0, 2]))
    assert layer.shares.tolist() == [0.75, 0.0, 0.25]
    assert layer(rows, Context()).isfinite().all()


def test_shifts_by_patches_shift_the_features() -> None:
    images, _ = digits()
    whole = features(built(), images[:4])
    moved = features(built(), images[:4].roll((2, 4), (2, 3)))
    for x, y in zip(whole, moved, strict=True):
        grid = x.reshape(4, 4, 4, -1).roll((1, 2), (1, 2))
        assert torch.allclose(grid, y.reshape(grid.shape), atol=1e-9)


def test_mixed_precision_is_close() -> None:
    model, images = deepcopy(built()).float(), digits()[0][:64].float() / 255
    want = model(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(images)
    assert (mixed.float() - want).norm() < 0.03 * want.norm()


def test_a_black_image_has_finite_answers_and_gradients() -> None:
    shape = ImageShape(channels=1, height=8, width=8, classes=3, patch=2)
    model = build(VARIANTS.get("redunet"), "nano", shape, mean=[0.0], std=[1.0], seed=0)
    images = torch.zeros(2, 1, 8, 8, requires_grad=True)
    logits = model(images)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert images.grad is not None
    assert all(t.grad is not None and t.grad.isfinite().all() for t in (images, *model.parameters()))


@pytest.mark.parametrize(
    "shape",
    [
        TextShape(vocabulary=30, length=14, classes=3),
        SegmentationShape(channels=3, height=16, width=24, classes=5, patch=8, stride=1),
    ],
)
def test_other_tasks_are_refused(shape: Shape) -> None:
    moments = [0.5] * 3 if isinstance(shape, ImageShape) else []
    with pytest.raises(UsageError, match=r"^variant 'redunet' is for image classification only$"):
        build(VARIANTS.get("redunet"), "nano", shape, mean=moments, std=moments, seed=0)


def test_only_models_of_the_backbone_are_built_from_data() -> None:
    plain = a(torch.nn.Module, torch.nn.Linear(2, 2))
    assert not is_data_built(plain)
    assert is_data_built(built())
    with pytest.raises(TypeError, match="Linear has no blocks"):
        build_from_data(plain, *digits())


def test_wrong_labels_and_models_without_such_parts_are_refused() -> None:
    images, labels = digits()
    with pytest.raises(UsageError, match=r"^labels: there are 200 for 300 images"):
        build_from_data(built(), images, labels[:200])
    for wrong in (labels - 1, labels[:0]):
        with pytest.raises(UsageError, match="one class number from 0 for each image"):
            build_from_data(built(), images[: len(wrong)], wrong)
    vit = build(VARIANTS.get("vit"), "nano", DIGITS.load(None).shape, mean=[0.3], std=[0.35], seed=0)
    with pytest.raises(TypeError, match="no part of the model"):
        build_from_data(vit, images, labels)
