"""Padding is out of sight: logits do not depend on it, for every variant and every kind of long task."""

import pytest
import torch

from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import PAD, TextShape
from tests.known import IMAGES_ONLY

SHAPES = {
    "class token (lra-listops, lra-text, planted)": TextShape(vocabulary=40, length=48, classes=10, pool="cls"),
    "own head": TextShape(vocabulary=40, length=48, classes=10),
    "mean (listops, text-bytes, pixels)": TextShape(vocabulary=40, length=48, classes=10, pool="mean"),
    "pair by class token (lra-retrieval)": TextShape(vocabulary=40, length=24, classes=2, pool="cls", documents=2),
    "pair by mean (retrieval)": TextShape(vocabulary=40, length=24, classes=2, pool="mean", documents=2),
}


def rows(shape: TextShape, reals: list[tuple[int, ...]]) -> torch.Tensor:
    """Documents of these many tokens each, padded to the full length."""
    generator = torch.Generator().manual_seed(3)
    whole = torch.randint(5, shape.vocabulary, (len(reals), shape.documents, shape.length), generator=generator)
    for row, sizes in zip(whole, reals, strict=True):
        for document, size in zip(row, sizes, strict=True):
            document[0], document[size:] = 2, PAD
    return whole.flatten(1)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", [name for name in VARIANTS.names() if name not in IMAGES_ONLY])
def test_logits_do_not_depend_on_padding(name: str, shape: TextShape) -> None:
    size = next(iter(VARIANTS.get(name).sizes))
    model = build(VARIANTS.get(name), size, shape, seed=1).double().eval()
    sizes: list[tuple[int, ...]] = [(5, 17), (17, 5), (11, 11)] if shape.documents == 2 else [(5,), (17,), (11,)]
    inputs = rows(shape, sizes)
    with torch.no_grad():
        together = model(inputs)
        for at, own in enumerate(sizes):
            end = (len(own) - 1) * shape.length + own[-1]
            alone = model(inputs[at : at + 1, :end])  # no padding behind the last document
            torch.testing.assert_close(alone[0], together[at], rtol=1e-9, atol=1e-9)
        # A token that is real does change them, so that the test can fail.
        other = inputs.clone()
        other[0, 1] = 5 + (other[0, 1] - 4) % 35
        assert not torch.allclose(model(other)[0], together[0], rtol=1e-9, atol=1e-9)
