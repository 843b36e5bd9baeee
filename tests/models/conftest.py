"""Toy shapes and builders shared by the tests of the room."""

from collections.abc import Callable, Iterator
from copy import copy

import pytest
import torch

from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import ATTENTIONS, VARIANTS
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.sockets import Attention
from robustbench_wb.models.variant import Size, Variant
from robustbench_wb.registry import Registry
from tests.known import a

TOY = Size(width=8, depth=2, heads=2)


@pytest.fixture
def attentions() -> Iterator[Registry[type[Attention]]]:
    """The registry of attention mechanisms, to be added to; afterwards it is as it was."""
    before = {name: copy(value) for name, value in vars(ATTENTIONS).items()}
    yield ATTENTIONS
    vars(ATTENTIONS).clear()
    vars(ATTENTIONS).update(before)


@pytest.fixture
def toy_shape() -> ImageShape:
    return ImageShape(channels=1, height=4, width=6, classes=3, patch=2)


@pytest.fixture
def toy(toy_shape: ImageShape) -> Callable[..., ImageClassifier]:
    """Build a variant (by name or value) at toy size in float64, with weights large enough to matter."""

    def make(variant: str | Variant, **changes: object) -> ImageClassifier:
        recipe = VARIANTS.get(variant) if isinstance(variant, str) else variant
        recipe = recipe.model_copy(update={"sizes": {"toy": TOY}, **changes})
        model = build(recipe, "toy", toy_shape, mean=[0.4], std=[0.3], seed=3).double()
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
        return a(ImageClassifier, model)

    return make
