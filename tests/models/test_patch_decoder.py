"""Segmentation head: places of pixels, interpolation, and all image variants."""

import pytest
import torch

from robustbench_wb.errors import UsageError
from robustbench_wb.models.build import build, variant_code_digest
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.patch_decoder import PatchDecoder
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.models.sockets import Context
from tests.known import IMAGES_ONLY


def shape(stride: int = 1) -> SegmentationShape:
    return SegmentationShape(channels=3, height=16, width=24, classes=5, patch=8, stride=stride)


@pytest.mark.parametrize("name", [name for name in VARIANTS.names() if name not in IMAGES_ONLY])
def test_every_variant_gives_logits_of_every_pixel(name: str) -> None:
    model = build(VARIANTS.get(name), "nano", shape(), seed=0, mean=[0.5] * 3, std=[0.25] * 3).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 5, 16, 24)
    assert torch.isfinite(logits).all()
    assert isinstance(model.head, PatchDecoder)


def test_logits_stand_where_their_patch_stands() -> None:
    head = PatchDecoder(6, 5, 1e-6, rows=2, squares=4, stride=2)
    x = torch.randn(1, 2 + 6, 6, generator=torch.Generator().manual_seed(1))
    context = Context(prefix_tokens=2)
    logits = head(x, context)
    assert logits.shape == (1, 5, 16, 24)
    whole = torch.nn.functional.interpolate(logits, scale_factor=0.5, mode="area")
    moved = x.clone()
    moved[:, 2 + 4] += 1.5 * torch.randn(6, generator=torch.Generator().manual_seed(2))  # row 1, column 1 of 2 x 3
    changed = (head(moved, context) - logits).abs().sum(1)[0] > 1e-6
    rows, columns = torch.nonzero(changed, as_tuple=True)
    # The patch, and the half square around it that interpolation reaches.
    assert (rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()) == (7, 15, 7, 16)
    # Outputs of a token: the classes vary slowest, then the rows of squares, then their columns.
    own = head.linear(head.norm(x[0, 2 + 4])).view(5, 4, 4)
    inner = whole[0, :, 4:8, 4:8]
    torch.testing.assert_close(inner[:, 1:3, 1:3].mean((1, 2)), _smoothed(own)[:, 1:3, 1:3].mean((1, 2)))
    other = x.clone()
    other[:, :2] = 9.0
    assert torch.equal(head(other, context), logits)  # class token and registers are not read


def _smoothed(squares: torch.Tensor) -> torch.Tensor:
    """Area means of the interpolated squares: weights 1/8, 3/4, 1/8 along each axis, inside."""
    kernel = torch.tensor([0.125, 0.75, 0.125])
    weights = (kernel[:, None] * kernel).expand(5, 1, 3, 3)
    return torch.nn.functional.conv2d(squares[None], weights, groups=5, padding=1)[0]


def test_one_square_per_patch_is_bilinear_interpolation() -> None:
    head = PatchDecoder(6, 5, 1e-6, rows=2, squares=1, stride=8)
    x = torch.randn(3, 1 + 6, 6, generator=torch.Generator().manual_seed(3))
    grid = head.linear(head.norm(x[:, 1:])).transpose(1, 2).reshape(3, 5, 2, 3)
    expected = torch.nn.functional.interpolate(grid, size=(16, 24), mode="bilinear", align_corners=False)
    torch.testing.assert_close(head(x, Context(prefix_tokens=1)), expected)


def test_the_decoder_is_part_of_the_digest_and_stride_divides_the_patch() -> None:
    vit = VARIANTS.get("vit")
    assert len({variant_code_digest(vit, "nano", shape(stride)) for stride in (1, 2, 8)}) == 3
    with pytest.raises(UsageError, match="stride 3 does not divide a patch of 8"):
        shape(3)
