"""Base of perturbation sequences: frames that change little by little, and the predictions that change with them."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Calibration, calibration_for
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Modality, Stressor


class PerturbationSequence(Stressor):
    """Base of sequences of frames (Hendrycks & Dietterich 2019, ImageNet-P); a subclass makes the frames of a batch.

    A sample is correct if the model classifies every frame correctly, so accuracy is that of the worst frame. The
    perturbed input is the first frame that is misclassified, or the last frame. Evidence counts, over all samples, the
    steps from frame to frame (``steps``) and those that change the prediction (``flips``): their ratio is the flip
    probability of ImageNet-P, whatever the true label is.
    """

    modality: ClassVar[Modality] = "image"
    counts: ClassVar[dict[Calibration, int]] = dict.fromkeys((32, 64, 224), 31)
    """Number of frames for each calibration: 32 pixels (CIFAR-10-P), 64 (Tiny-ImageNet-P), 224 (ImageNet-P)."""
    unordered: ClassVar[bool] = False
    """Whether frames have no order: every frame is then compared with the first one, not with the one before."""

    @property
    def passes(self) -> tuple[int, int] | None:
        """Forward passes and input gradients of one sample: one pass per frame."""
        return max(self.counts.values()), 0

    @abstractmethod
    def frames(self, images: Tensor, ids: Tensor, seed: int) -> Iterator[Tensor]:
        """Frames of images, uint8 (B, C, H, W), with sample ids, int64 (B,), in order; each is uint8 of that shape.

        Each row depends on its own image and id, and on the seed, only.
        """

    def calibration(self, shape: Sequence[int]) -> Calibration:
        """Calibration for images of ``shape`` (..., H, W)."""
        return calibration_for(min(shape[-2:]))

    def count(self, shape: Sequence[int]) -> int:
        """Number of frames for images of ``shape`` (..., H, W)."""
        return self.counts[self.calibration(shape)]

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Classify all frames of every sample."""
        count = self.count(batch.inputs.shape)
        levels, ids = (batch.inputs * 255).round().to(torch.uint8), batch.ids
        if levels.device.type == "mps":  # MPS has no float64
            levels, ids = levels.cpu(), ids.cpu()
        chosen = batch.inputs.clone()
        wrong, failed = (torch.zeros_like(batch.labels, dtype=torch.bool) for _ in range(2))
        flips, before = 0, torch.empty_like(batch.labels)
        for number, some in enumerate(self.frames(levels, ids, batch.seed)):
            frame = some.to(batch.inputs) / 255
            logits = access.predict(frame)
            predicted = logits.argmax(1)
            chosen = torch.where(wrong[:, None, None, None], chosen, frame)
            wrong |= predicted != batch.labels
            failed |= ~torch.isfinite(logits).all(1)
            flips += int((predicted != before).sum()) if number else 0
            before = before if number and self.unordered else predicted
        access.advance(len(batch.ids))
        return PerturbedBatch(
            inputs=chosen,
            forwards=np.full(len(batch.ids), count, np.int32),
            backwards=np.zeros(len(batch.ids), np.int32),
            broken=wrong.cpu().numpy(),
            failed=failed.cpu().numpy(),
            evidence={"flips": flips, "steps": len(batch.ids) * (count - 1)},
        )


def rounded(values: Tensor) -> Tensor:
    """Values on the scale 0..255 rounded to levels, uint8."""
    return (values + 0.5).clamp(0, 255.999).to(torch.uint8)
