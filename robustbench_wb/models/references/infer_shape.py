"""Input and output shapes of a checkpoint of another implementation, inferred from its tensors."""

import math
from collections.abc import Mapping

from torch import Tensor

from robustbench_wb.errors import CheckpointError, UsageError
from robustbench_wb.models.references.mapping import CheckpointFamily, join
from robustbench_wb.models.shape import ImageShape, Shape, TextShape

_KERNELS = ("embedding.project.weight", "embedding.project.1.weight")


def infer_shape(
    family: CheckpointFamily,
    state: Mapping[str, object],
    *,
    classes: int | None = None,
    image: tuple[int, int] | None = None,
) -> Shape:
    """Infer the inputs and outputs of a checkpoint of ``family``.

    Images have 3 channels, or 1 if 3 give no square patch. They are square unless ``image`` gives height and width.
    ``classes`` is required for checkpoints without a linear head.

    Raises:
        CheckpointError: a necessary tensor is missing, or the sizes are inconsistent.
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
            raise UsageError("this checkpoint has no linear head; give the number of classes of the new head")
        classes = rows("head.linear.weight")
    if family.modality == "text":
        return TextShape(vocabulary=rows("embedding.words.weight"), length=positions, classes=classes)
    kernel = _needed(next((name for name in _KERNELS if name in names), _KERNELS[0]), ours, names)
    channels, patch = _patch(kernel)
    height, width = image or _square(positions - 1, patch)
    return ImageShape(channels=channels, height=height, width=width, classes=classes, patch=patch)


def _needed(name: str, ours: Mapping[str, Tensor], names: Mapping[str, str]) -> Tensor:
    if name not in ours or ours[name].ndim == 0:
        raise CheckpointError(f"the reference checkpoint lacks {names[name]}, from which its shape is inferred")
    return ours[name]


def _patch(kernel: Tensor) -> tuple[int, int]:
    """Channels and patch size of a patch embedding weight."""
    values = int(kernel.shape[-1])
    for channels in (3, 1):
        patch = math.isqrt(values // channels)
        if patch and patch * patch * channels == values:
            return channels, patch
    raise CheckpointError(f"a patch of {values} values is not square, neither with 3 channels nor with 1")


def _square(patches: int, patch: int) -> tuple[int, int]:
    side = math.isqrt(max(0, patches))
    if side == 0 or side * side != patches:
        raise CheckpointError(f"{patches} patches do not form a square image; give its height and width")
    return side * patch, side * patch
