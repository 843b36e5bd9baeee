"""Stressors that look at no model: what they make of a sample is the same for every subject, so it is made once."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.stressors.stressor import Modality, PerturbedBatch, SampleBatch, Stressor

CHUNK_VALUES = 1 << 21
"""Pixel values that are perturbed at once. Cannot change a result."""
CHUNK_TEXTS = 256
"""Texts between two reports of progress."""


@dataclass(frozen=True, eq=False)
class Made:
    """Perturbed samples. Of images and token ids ``inputs`` is given, of texts ``texts``."""

    inputs: NDArray[Any] | None
    """Images, uint8 (N, C, H, W), or token ids, int32 (N, L): as tasks give them."""
    texts: Sequence[str] | None
    changed: NDArray[np.int64]
    """Units (pixels, words, tokens) of each sample that were perturbed, (N,); zeros where nobody counts."""
    units: NDArray[np.int64]
    """Units that each sample has, (N,); zeros where nobody counts."""
    counted: NDArray[np.bool_] | None = None
    """In language modelling, (N, L): the tokens whose prediction is scored; None: all."""

    def rows(self, rows: NDArray[np.int64]) -> "Made":
        """The same for some of the samples."""
        return Made(
            None if self.inputs is None else self.inputs[rows],
            None if self.texts is None else [self.texts[row] for row in rows],
            self.changed[rows],
            self.units[rows],
            None if self.counted is None else self.counted[rows],
        )

    def stressed(self, job: SampleBatch) -> PerturbedBatch:
        """What becomes of the job's inputs."""
        none = np.zeros(len(job.ids), np.int32)
        evidence = {"changed": int(self.changed.sum()), "units": int(self.units.sum())}
        return PerturbedBatch(
            self._inputs(job),
            none,
            none.copy(),
            texts=self.texts,
            evidence=evidence if evidence["units"] else {},
            counted=None if self.counted is None else torch.from_numpy(self.counted).to(job.inputs.device),
        )

    def _inputs(self, job: SampleBatch) -> Tensor:
        if self.inputs is None:
            if self.texts is None or job.tokenizer is None:
                raise TypeError("neither inputs nor texts with a tokenizer")
            tokens = job.tokenizer.encode(self.texts, job.inputs.shape[1])
            return torch.from_numpy(tokens.astype(np.int64)).to(job.inputs.device)
        found = torch.from_numpy(np.ascontiguousarray(self.inputs)).to(job.inputs.device)
        return found.float() / 255 if found.dtype == torch.uint8 else found.long()


class Blind(Stressor):
    """Base of stressors that see inputs, sample ids and the seed, and nothing else."""

    @abstractmethod
    def make(self, job: SampleBatch) -> Made:
        """Perturb every sample of the job; its model is not asked."""

    def finish(self, job: SampleBatch, made: Made) -> PerturbedBatch:
        """What the job's inputs became, with all that is to be said of it."""
        return made.stressed(job)

    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """The perturbed samples."""
        return self.finish(job, self.make(job))


class BlindImages(Blind):
    """Base of what perturbs images; a subclass perturbs a batch of 8-bit ones."""

    modality: ClassVar[Modality] = "image"

    @abstractmethod
    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """uint8 (B, C, H, W) and int64 (B,) to uint8 of the same shape. A row depends on its image, id and the seed."""

    def count(self, images: Tensor, perturbed: Tensor) -> tuple[Tensor, Tensor]:
        """Units perturbed and units there are, int64 (B,) each; zeros where no rate is promised."""
        none = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        return none, none

    def make(self, job: SampleBatch) -> Made:
        """In chunks of a fixed size."""
        size = max(1, CHUNK_VALUES // max(1, job.inputs[0].numel())) if len(job.inputs) else 1
        parts, counts = [], []
        chunks = zip(torch.split(job.inputs, size), torch.split(job.ids, size), strict=True)
        for images, ids in chunks if len(job.ids) else ():  # nothing is split into one chunk of nothing
            levels = (images * 255).round().to(torch.uint8)
            if levels.device.type == "mps":  # has no float64
                levels, ids = levels.cpu(), ids.cpu()
            perturbed = self.perturb(levels, ids, job.seed)
            counts.append(torch.stack(self.count(levels, perturbed)).cpu())
            parts.append(perturbed.cpu())
            job.advance(len(ids))
        whole = torch.cat(parts).numpy() if parts else np.zeros(tuple(job.inputs.shape), np.uint8)
        changed, units = torch.cat(counts, 1).numpy() if counts else np.zeros((2, 0), np.int64)
        return Made(whole, None, changed, units)


class BlindTexts(Blind):
    """Base of what perturbs whole texts; a subclass perturbs one."""

    modality: ClassVar[Modality] = "text"

    @abstractmethod
    def perturb(self, text: str, sample: int, seed: int) -> tuple[str, int, int]:
        """The perturbed text, the units that were perturbed, and the units there are."""

    def make(self, job: SampleBatch) -> Made:
        """Text by text."""
        found = []
        for number, (text, sample) in enumerate(zip(job.texts, job.ids.tolist(), strict=True), 1):
            found.append(self.perturb(text, sample, job.seed))
            if number % CHUNK_TEXTS == 0:
                job.advance(CHUNK_TEXTS)
        job.advance(len(job.texts) % CHUNK_TEXTS)
        counts = np.array([row[1:] for row in found], np.int64).reshape(len(found), 2)
        return Made(None, [row[0] for row in found], counts[:, 0], counts[:, 1])
