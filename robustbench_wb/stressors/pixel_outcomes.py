"""Outcomes of a segmentation model on a batch of images: pixel counts of every class, and the losses of the pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from robustbench_wb.models.segmentation_shape import VOID


def count_pixels(logits: Tensor, labels: Tensor) -> Tensor:
    """Pixel counts of every image and class, int64 (B, K, 3): labelled, predicted, both. Void pixels are left out.

    Args:
        logits: (B, K, H, W).
        labels: int64 (B, H, W), 0 to K - 1, or ``VOID``.
    """
    size, classes = logits.shape[:2]
    images = torch.arange(size, device=labels.device)[:, None, None] * classes
    counted, predicted = labels != VOID, logits.argmax(1)
    label, answer, both = labels + images, predicted + images, counted & (predicted == labels)
    chosen = (label[counted], answer[counted], label[both])
    counts = [torch.bincount(places, minlength=size * classes).view(size, classes) for places in chosen]
    return torch.stack(counts, dim=-1)


def image_ious(counts: Tensor) -> Tensor:
    """Mean IoU of each image over the classes in its label, float64 (B,), from counts (B, K, 3)."""
    labelled, predicted, both = counts.double().unbind(-1)
    present = labelled > 0
    union = (labelled + predicted - both).clamp(min=1)  # a class without label and prediction has no union
    return torch.where(present, both / union, 0.0).sum(1) / present.sum(1)


def pixel_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of every pixel in nats, (B, H, W); 0 for void pixels."""
    return F.cross_entropy(logits, labels, ignore_index=VOID, reduction="none")


def image_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each image over its counted pixels in nats, (B,)."""
    return pixel_losses(logits, labels).flatten(1).sum(1) / (labels != VOID).flatten(1).sum(1)
