"""Samples that a stressor takes, and perturbed samples that it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.models.shape import Shape
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.tasks.lexicon import Lexicon
from robustbench_wb.tasks.task import Split


@dataclass(frozen=True, eq=False, kw_only=True)
class TextSide:
    """Texts behind token ids, and what turns one into the other."""

    tokenizer: Tokenizer
    """Tokenizer that makes the token ids."""
    texts: Sequence[str] = ()
    """Full text of each sample, before truncation; empty in language modelling."""
    lexicon: Lexicon = field(default_factory=lambda: Lexicon(()))
    """Words of the task's training texts."""

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """Select samples by a mask, bool (N,), or by row numbers."""
        if not self.texts:
            return self
        return replace(self, texts=[self.texts[row] for row in np.arange(len(self.texts))[rows].tolist()])


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleBatch:
    """Samples to perturb. An adversarial stressor gets only samples that the model classifies correctly."""

    inputs: Tensor
    """Inputs on the device of the model: images, float32 (N, C, H, W) in [0, 1], or token ids, int64 (N, L), padded
    with 0 on the right."""
    labels: Tensor
    """True labels, int64 (N,)."""
    ids: Tensor
    """Sample ids, int64 (N,). Noise depends on the ids, the seed and the stressor's signature only."""
    seed: int
    """Seed of the run."""
    text: TextSide | None = None
    """Texts and tokenizer of the samples; None for images, and for token ids without a tokenizer."""
    token_counts: NDArray[np.int32] | None = None
    """Tokens of each sample before truncation, (N,); None where they were not counted."""
    language: bool = False
    """Whether the task is language modelling: the targets are the next tokens, so a perturbation changes targets."""
    split: Split | None = None
    """Complete test split of the task: the sample with id i is row i."""
    shape: Shape | None = None
    """Input shape and number of classes that the task asks of a model."""

    @property
    def texts(self) -> Sequence[str]:
        """Full text of each sample; empty for images and in language modelling."""
        return () if self.text is None else self.text.texts

    def select(self, mask: NDArray[np.bool_]) -> Self:
        """Select the samples where ``mask``, bool (N,), is true."""
        if mask.all():
            return self
        rows = torch.from_numpy(mask).to(self.labels.device)
        return replace(
            self,
            inputs=self.inputs[rows],
            labels=self.labels[rows],
            ids=self.ids[rows],
            text=None if self.text is None else self.text.select(mask),
            token_counts=None if self.token_counts is None else self.token_counts[mask],
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbedBatch:
    """Perturbed samples, in the order of the sample batch, and the cost of each."""

    inputs: Tensor
    """Perturbed inputs, with the shape, type and device of the clean inputs."""
    forwards: NDArray[np.int32]
    """Forward passes spent on each sample, (N,)."""
    backwards: NDArray[np.int32]
    """Input gradients spent on each sample, (N,)."""
    broken: NDArray[np.bool_] | None = None
    """Samples that the search found misclassified, (N,); None for stressors that do not look at predictions."""
    failed: NDArray[np.bool_] | None = None
    """Samples that could not be searched, (N,): logits or gradients were not finite. They become errors, never
    robust."""
    texts: Sequence[str] | None = None
    """Perturbed texts, whose token ids are ``inputs``; None where no text was perturbed."""
    vectors: Tensor | None = None
    """Perturbed word vectors, (N, L, d), which the model takes in place of the word vectors of ``inputs``."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Counts about the search, from which credibility is graded; counts of several batches add up."""
    target: int | None = None
    """Target class of a planted trigger, for the attack success rate; None without a trigger."""
    counted: Tensor | None = None
    """Tokens whose prediction is scored in language modelling, bool (N, L); None: all tokens but padding."""

    def select(self, mask: NDArray[np.bool_]) -> Self:
        """Select the samples where ``mask``, bool (N,), is true; the evidence stays that of all samples."""
        if mask.all():
            return self
        rows = torch.from_numpy(mask).to(self.inputs.device)
        texts = None if self.texts is None else [text for text, kept in zip(self.texts, mask, strict=True) if kept]
        return replace(
            self,
            inputs=self.inputs[rows],
            forwards=self.forwards[mask],
            backwards=self.backwards[mask],
            broken=None if self.broken is None else self.broken[mask],
            failed=None if self.failed is None else self.failed[mask],
            texts=texts,
            vectors=None if self.vectors is None else self.vectors[rows],
            counted=None if self.counted is None else self.counted[rows],
        )
