"""Stressors that do not query the model: their samples are equal for all models, so they are made only once."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.progress import Advance
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Modality, Stressor

CHUNK_VALUES = 1 << 21
"""Pixel values perturbed at once. Cannot change a result."""
CHUNK_TEXTS = 256
"""Texts between two progress reports."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbedData:
    """Perturbed samples: ``inputs`` for images and token ids, ``texts`` for texts."""

    inputs: NDArray[np.uint8] | NDArray[np.int32] | None = None
    """Images, uint8 (N, C, H, W), or token ids, int32 (N, L); None for texts."""
    texts: Sequence[str] | None = None
    changed: NDArray[np.int64]
    """Perturbed units (pixels, words, tokens) of each sample, (N,); zeros if the stressor does not count units."""
    units: NDArray[np.int64]
    """Units of each sample, (N,); zeros if the stressor does not count units."""
    counted: NDArray[np.bool_] | None = None
    """Language modelling only: bool (N, L), the tokens whose prediction is scored; None: all tokens."""

    def select(self, rows: NDArray[np.int64]) -> "PerturbedData":
        """Perturbed samples at the given rows."""
        return PerturbedData(
            inputs=None if self.inputs is None else self.inputs[rows],
            texts=None if self.texts is None else [self.texts[row] for row in rows],
            changed=self.changed[rows],
            units=self.units[rows],
            counted=None if self.counted is None else self.counted[rows],
        )

    def to_batch(self, batch: SampleBatch) -> PerturbedBatch:
        """Perturbed batch with these samples: tensors on the device of the original batch, with counts as evidence."""
        none = np.zeros(len(batch.ids), np.int32)
        evidence = {"changed": int(self.changed.sum()), "units": int(self.units.sum())}
        return PerturbedBatch(
            inputs=self._inputs(batch),
            forwards=none,
            backwards=none.copy(),
            texts=self.texts,
            evidence=evidence if evidence["units"] else {},
            counted=None if self.counted is None else torch.from_numpy(self.counted).to(batch.inputs.device),
        )

    def _inputs(self, batch: SampleBatch) -> Tensor:
        if self.inputs is None:
            if self.texts is None or batch.text is None:
                raise TypeError("neither inputs nor texts with a tokenizer")
            tokens = batch.text.tokenizer.encode(self.texts, batch.inputs.shape[1])
            return torch.from_numpy(tokens.astype(np.int64)).to(batch.inputs.device)
        found = torch.from_numpy(np.ascontiguousarray(self.inputs)).to(batch.inputs.device)
        return found.float() / 255 if found.dtype == torch.uint8 else found.long()


class ModelFreeStressor(Stressor):
    """Base of stressors that use inputs, sample ids and the seed only."""

    @abstractmethod
    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Perturb every sample of the batch; call ``advance`` with the number of samples that are finished."""

    def finish(self, batch: SampleBatch, made: PerturbedData) -> PerturbedBatch:
        """Perturbed batch made from the perturbed samples, with all evidence about them."""
        return made.to_batch(batch)

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Perturb the batch without querying the model."""
        return self.finish(batch, self.make(batch, access.advance))


class ModelFreeImageStressor(ModelFreeStressor):
    """Base of image perturbations; a subclass perturbs a batch of 8-bit images."""

    modality: ClassVar[Modality] = "image"

    @abstractmethod
    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Perturb images, uint8 (B, C, H, W), with sample ids, int64 (B,); returns uint8 of the same shape.

        Each row depends on its own image and id, and on the seed, only.
        """

    def count(self, images: Tensor, perturbed: Tensor) -> tuple[Tensor, Tensor]:
        """Number of perturbed units and number of units, int64 (B,) each; zeros for stressors without a rate."""
        none = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        return none, none

    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Perturb the batch in chunks of a fixed size."""
        size = max(1, CHUNK_VALUES // max(1, batch.inputs[0].numel())) if len(batch.inputs) else 1
        parts, counts = [], []
        chunks = zip(torch.split(batch.inputs, size), torch.split(batch.ids, size), strict=True)
        for images, ids in chunks if len(batch.ids) else ():  # torch.split of an empty tensor yields one empty chunk
            levels = (images * 255).round().to(torch.uint8)
            if levels.device.type == "mps":  # MPS has no float64
                levels, ids = levels.cpu(), ids.cpu()
            perturbed = self.perturb(levels, ids, batch.seed)
            counts.append(torch.stack(self.count(levels, perturbed)).cpu())
            parts.append(perturbed.cpu())
            advance(len(ids))
        whole = torch.cat(parts).numpy() if parts else np.zeros(tuple(batch.inputs.shape), np.uint8)
        changed, units = torch.cat(counts, 1).numpy() if counts else np.zeros((2, 0), np.int64)
        return PerturbedData(inputs=whole, changed=changed, units=units)


class ModelFreeTextStressor(ModelFreeStressor):
    """Base of text perturbations; a subclass perturbs one text."""

    modality: ClassVar[Modality] = "text"

    @abstractmethod
    def perturb(self, text: str, sample: int, seed: int) -> tuple[str, int, int]:
        """Perturb one text; returns the new text, the number of perturbed units and the number of units."""

    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Perturb the texts of the batch one by one."""
        found = []
        for number, (text, sample) in enumerate(zip(batch.texts, batch.ids.tolist(), strict=True), 1):
            found.append(self.perturb(text, sample, batch.seed))
            if number % CHUNK_TEXTS == 0:
                advance(CHUNK_TEXTS)
        advance(len(batch.texts) % CHUNK_TEXTS)
        counts = np.array([row[1:] for row in found], np.int64).reshape(len(found), 2)
        return PerturbedData(texts=[row[0] for row in found], changed=counts[:, 0], units=counts[:, 1])
