"""Tiny models of each kind of data, on which layer measures are compared with plain loops."""

import torch

from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape, Shape, TextShape
from robustbench_wb.models.variant import Size

IMAGES = ImageShape(channels=1, height=4, width=6, classes=3, patch=2)
WORDS = TextShape(vocabulary=11, length=8, classes=2)
NEXT = TextShape(vocabulary=11, length=8, classes=11, causal=True)


def toy(variant: str, shape: Shape) -> Transformer:
    """A model of float64 whose norms have other gains and biases than 1 and 0, and linear maps biases."""
    recipe = VARIANTS.get(variant).model_copy(update={"sizes": {"toy": Size(width=8, depth=3, heads=2)}})
    mean, std = ([0.4], [0.3]) if isinstance(shape, ImageShape) else ([], [])
    model = build(recipe, "toy", shape, mean=mean, std=std, seed=3).double().eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    return model
