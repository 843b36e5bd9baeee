"""Segmentation masks as pictures, and their IoU, for galleries."""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.models.segmentation_shape import VOID
from robustbench_wb.stats.pixel_counts import image_iou

_VOID_LEVEL = 128
"""Grey level of pixels that do not count."""


def mask_picture(mask: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Colours of a mask (H, W), uint8 (3, H, W): those of PASCAL VOC by class number, grey where pixels do not count.

    The bits of the class number go to red, green and blue in turn, from the highest bit of each colour down, so that
    class 0 is black and near numbers differ (Everingham et al. 2010, development kit).
    """
    classes = np.maximum(mask, 0).astype(np.int64)
    colours = np.zeros((3, *mask.shape), np.int64)
    for place in range(8):
        for channel in range(3):
            colours[channel] |= (classes >> (3 * place + channel) & 1) << (7 - place)
    return np.where(mask == VOID, _VOID_LEVEL, colours).astype(np.uint8)


def mask_iou(label: NDArray[np.integer], predicted: NDArray[np.integer]) -> float:
    """Mean IoU of a predicted mask (H, W) over the classes in the label (H, W)."""
    counted = label != VOID
    size = 1 + int(max(label.max(), predicted.max()))
    both = counted & (label == predicted)
    counts = [np.bincount(found, minlength=size) for found in (label[counted], predicted[counted], label[both])]
    return float(image_iou(np.stack(counts, -1)[None].astype(np.int32))[0])
