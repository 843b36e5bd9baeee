"""The shape of the inputs and answers that a foreign checkpoint was made for, read off its tensors."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from robustbench_wb.errors import CheckpointError, UsageError
from robustbench_wb.models.references.mapping import Family, join
from robustbench_wb.models.shape import ImageShape, Shape, TextShape

_KERNELS = ("embedding.project.weight", "embedding.project.1.weight")


def infer_shape(
    family: Family, state: Mapping[str, Any], classes: int | None = None, image: tuple[int, int] | None = None
) -> Shape:
    """What a checkpoint of ``family`` takes and answers.

    Channels are 3, or 1 where 3 gives no square patch. Images are square unless ``image`` gives height and width.
    ``classes`` is for checkpoints without a linear head.

    Raises:
        CheckpointError: a tensor that tells is missing, or the numbers do not fit together.
        UsageError: the checkpoint has no linear head and ``classes`` is not given.
    """
    given = family.unwrap(state)
    ours = {rule.ours: join(rule, given) for rule in family.outside() if all(name in given for name in rule.theirs)}
    names = {rule.ours: rule.theirs[0] for rule in family.outside()}

    def rows(name: str) -> int:
        return int(_needed(name, ours, names).shape[0])

    if family.modality == "causal":
        words = rows("embedding.words.weight")
        return TextShape(vocabulary=words, length=rows("embedding.positions.table"), classes=words, causal=True)
    positions = rows("embedding.positions.table")
    if classes is None:
        if "head.linear.weight" not in ours:
            raise UsageError("this checkpoint has no linear head; say how many classes the new one shall have")
        classes = rows("head.linear.weight")
    if family.modality == "text":
        return TextShape(vocabulary=rows("embedding.words.weight"), length=positions, classes=classes)
    kernel = _needed(next((name for name in _KERNELS if name in names), _KERNELS[0]), ours, names)
    channels, patch = _patch(kernel)
    height, width = image or _square(positions - 1, patch)
    return ImageShape(channels=channels, height=height, width=width, classes=classes, patch=patch)


def _needed(name: str, ours: Mapping[str, Tensor], names: Mapping[str, str]) -> Tensor:
    if name not in ours or ours[name].ndim == 0:
        raise CheckpointError(f"the reference checkpoint misses {names[name]}, from which its shape follows")
    return ours[name]


def _patch(kernel: Tensor) -> tuple[int, int]:
    """Channels and patch size."""
    values = int(kernel.shape[-1])
    for channels in (3, 1):
        patch = math.isqrt(values // channels)
        if patch and patch * patch * channels == values:
            return channels, patch
    raise CheckpointError(f"{values} values are no square patch of 3 channels or 1")


def _square(patches: int, patch: int) -> tuple[int, int]:
    side = math.isqrt(max(0, patches))
    if side == 0 or side * side != patches:
        raise CheckpointError(f"{patches} patches make no square image; give its height and width")
    return side * patch, side * patch
