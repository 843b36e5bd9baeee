"""What must hold for every variant in every modality: padding, causality, batches, the order of tokens."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape, Shape, TextShape
from robustbench_wb.models.sockets import Context
from robustbench_wb.models.variant import Size
from tests.known import IMAGES_ONLY, NOT_CAUSAL

NAMES = [name for name in VARIANTS.names() if name not in IMAGES_ONLY]
CLASSIFY = TextShape(vocabulary=30, length=14, classes=3)
PREDICT = TextShape(vocabulary=30, length=14, classes=30, causal=True)
IMAGES = ImageShape(channels=1, height=4, width=6, classes=3, patch=2)
LANGUAGE = [name for name in NAMES if name not in NOT_CAUSAL]
TEXTS = [(name, CLASSIFY) for name in NAMES] + [(name, PREDICT) for name in LANGUAGE]
ALL = [(name, IMAGES) for name in NAMES] + TEXTS
DRAWN_BY_PLACE = {"median-of-means": "its random subsets of keys are drawn by the number of a token"}
"""Variants that treat tokens by their number, not only by what and where they are; with the reason."""


@cache
def model(name: str, shape: Shape) -> Transformer:
    """A variant of three layers with weights large enough to matter."""
    variant = VARIANTS.get(name).model_copy(update={"sizes": {"toy": Size(width=8, depth=3, heads=2)}})
    mean, std = ([0.4], [0.3]) if isinstance(shape, ImageShape) else ([], [])
    made = build(variant, "toy", shape, mean=mean, std=std, seed=3).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    return made.eval().requires_grad_(False)


def texts(sizes: list[int], length: int, seed: int = 0) -> Tensor:
    tokens = torch.randint(5, 30, (len(sizes), 14), generator=torch.Generator().manual_seed(seed))
    tokens[:, 0] = 2
    return torch.where(torch.arange(length) < torch.tensor(sizes)[:, None], tokens[:, :length], 0)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(2, 10), min_size=1, max_size=4), more=st.integers(0, 4))
def test_padding_and_neighbours_never_change_an_answer(name: str, sizes: list[int], more: int) -> None:
    made = model(name, CLASSIFY)
    together = made(texts(sizes, 10 + more))
    assert together.shape == (len(sizes), 3)
    for row, size in enumerate(sizes):
        alone = made(texts(sizes, 14)[row : row + 1, :size])
        assert (alone[0] - together[row]).abs().max() < 1e-10


@pytest.mark.parametrize("name", LANGUAGE)
@settings(max_examples=15, deadline=None)
@given(at=st.integers(1, 9), size=st.integers(2, 10), word=st.integers(5, 29))
def test_no_token_sees_a_later_one(name: str, at: int, size: int, word: int) -> None:
    made = model(name, PREDICT)
    tokens = texts([10, size], 10)
    before = made(tokens)
    assert before.shape == (2, 10, 30)
    changed = tokens.clone()
    changed[:, at] = torch.where(changed[:, at] == 0, 0, word)
    assert (made(changed)[:, :at] - before[:, :at]).abs().max() < 1e-10
    assert (made(tokens[:, :at])[0] - before[0, :at]).abs().max() < 1e-10  # nor does it know how long the text is


@pytest.mark.parametrize(("name", "shape"), TEXTS)
def test_how_a_batch_of_texts_is_split_changes_nothing(name: str, shape: TextShape) -> None:
    made = model(name, shape)  # in float64: how float32 rounds differs from processor to processor
    tokens = texts([10, 10, 3, 7, 5], 10) if not shape.causal else texts([10] * 5, 10)
    whole = made(tokens)
    for pieces in (tokens.split(1), tokens.split(2), tokens.split([4, 1])):
        assert (torch.cat([made(piece) for piece in pieces]) - whole).abs().max() < 1e-10
    assert torch.equal(made(tokens), whole)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [IMAGES, CLASSIFY], ids=["images", "text"])
def test_tokens_that_move_with_their_places_move_the_answer_and_no_more(name: str, shape: Shape) -> None:
    made = model(name, shape)
    if isinstance(shape, ImageShape):
        inputs = torch.rand(2, 1, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    else:
        inputs = texts([9, 6], 9)
    x, context = made.embed(inputs)
    prefix = context.prefix_tokens
    order = torch.cat(
        [
            torch.arange(prefix),
            prefix + torch.randperm(x.shape[1] - prefix, generator=torch.Generator().manual_seed(2)),
        ]
    )
    moved = Context(
        positions=None if context.positions is None else context.positions[order],
        coordinates=None if context.coordinates is None else context.coordinates[order],
        prefix_tokens=prefix,
        keep=None if context.keep is None else context.keep[:, order],
    )
    want = made.backbone(x, context)[:, order]
    got = made.backbone(x[:, order], moved)
    real = torch.ones(want.shape[:2], dtype=torch.bool) if moved.keep is None else moved.keep
    different = float((got - want)[real].abs().max())
    assert (different > 1e-6) if name in DRAWN_BY_PLACE else (different < 1e-10), different


@pytest.mark.parametrize("name", NAMES)
def test_places_matter(name: str) -> None:
    """Words in another order are another text, or the variant knows nothing of positions."""
    tokens = texts([9], 9)
    turned = tokens[:, [0, 4, 1, 6, 2, 8, 3, 7, 5]]  # read backwards, a text keeps all its distances
    made = model(name, CLASSIFY)
    assert (made(tokens) - made(turned)).abs().max() > 1e-6


@pytest.mark.parametrize(("name", "shape"), ALL)
def test_the_watcher_sees_every_layer_and_what_real_tokens_look_at(name: str, shape: Shape) -> None:
    made = model(name, shape)
    inputs = torch.rand(2, 1, 4, 6, dtype=torch.float64) if isinstance(shape, ImageShape) else texts([9, 6], 9)
    x, context = made.embed(inputs)
    unwatched = made.backbone(x, made.embed(inputs)[1])
    seen: list[Tensor] = []
    context.watch = lambda matrix, values: seen.append(matrix)
    watched = made.backbone(x, context)
    assert (watched - unwatched).abs().max() < 1e-10
    assert len(seen) == 3
    for matrix in seen:
        assert matrix.shape == (2, 2, x.shape[1], x.shape[1])
        if shape.causal:
            assert (matrix.triu(1).abs() < 1e-12).all()
        if context.keep is not None:
            real = context.keep[1]
            assert (matrix[1][:, real][:, :, ~real].abs() < 1e-12).all()
