"""``build``: an untrained model of a registered variant, in memory."""

from collections.abc import Sequence

from robustbench_wb.api.arguments import whole_number
from robustbench_wb.errors import UsageError
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.build import build as build_variant
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape, Shape, TextShape


def build(
    variant: str,
    *,
    shape: Shape,
    size: str = "nano",
    mean: Sequence[float] | float = 0.0,
    std: Sequence[float] | float = 1.0,
    seed: int = 0,
) -> Transformer:
    """Build an untrained model on the CPU in float32, as a module in training mode.

    Args:
        variant: a registered name, like ``crate``; ``robustbench-wb list variants`` prints them.
        shape: inputs and classes, as ``robustbench_wb.ImageShape`` or ``robustbench_wb.TextShape``.
        size: a size of the variant, like ``tiny``.
        mean: images in [0, 1] are normalised inside the model, ``(x - mean) / std``; one number per channel, or one
            for all. Not used for texts.
        std: see ``mean``.
        seed: seed of the weights; no global generator moves.

    Raises:
        UnknownNameError: there is no such variant or size.
        UsageError: the patch does not divide the image, or the normalisation does not fit.
    """
    if not isinstance(shape, ImageShape | TextShape):
        raise UsageError(f"shape: {shape!r} is not a shape; make an ImageShape or a TextShape", "shape")
    for name, value in (("variant", variant), ("size", size)):
        if not isinstance(value, str):
            raise UsageError(f"{name} is a name, not {value!r}", name)
    whole_number("seed", seed, low=0)
    channels = shape.channels if isinstance(shape, ImageShape) else 0
    means, deviations = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
    return build_variant(VARIANTS.get(variant), size, shape, mean=means, std=deviations, seed=seed)


def _per_channel(name: str, value: Sequence[float] | float, channels: int) -> list[float]:
    try:
        return [float(value)] * channels if isinstance(value, int | float) else [float(one) for one in value]
    except (TypeError, ValueError):
        raise UsageError(f"{name}: give one number, or one per channel ({channels}), not {value!r}", name) from None
