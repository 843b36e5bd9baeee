"""The probe of a subject of tokens: PGD on word vectors against a black box in the same balls."""

from collections.abc import Callable
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustbench_wb.engine.credibility.probe import Probe
from robustbench_wb.engine.credibility.word_walk import word_walk
from robustbench_wb.models.batching import batches
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.stressors.attacks.attack_losses import Loss
from robustbench_wb.stressors.stressor import Modality, SampleBatch
from robustbench_wb.stressors.text_attacks.embedding import EmbeddingPgdLinf


class ProbeEmbeddingPgd(EmbeddingPgdLinf):
    """PGD from the words themselves."""

    name: ClassVar[str] = "embedding-pgd-straight-linf"

    def start(self, words: Tensor, ids: Tensor, seed: int, radius: float) -> Tensor:
        """The words."""
        return words


class FromVectors(nn.Module):
    """A model as a function of its word vectors (B, L, d), for fixed token ids (B, L)."""

    def __init__(self, model: nn.Module, tokens: Tensor) -> None:
        super().__init__()
        self.model, self.tokens = model, tokens

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits (B, classes)."""
        return WordEmbeddings(self.model).logits(self.tokens, vectors)


class WordProbe(Probe):
    """In word vectors, radii in standard deviations of their table."""

    name: ClassVar[str] = "credibility-word-probe"
    modality: ClassVar[Modality] = "labelled"

    attack = EmbeddingPgdLinf
    straight = ProbeEmbeddingPgd
    large = Fraction(8)
    """In deviations: around a word it holds nearly every other word."""

    def black_box(self, job: SampleBatch) -> int:
        """The walk from word to word."""
        return int(word_walk(job, float(self.eps), self.queries).sum())

    def gradient(self, job: SampleBatch, loss: Loss) -> Tensor:
        """In the word vectors."""
        table = WordEmbeddings(job.model)
        vectors = table.vectors(job.inputs)
        found = torch.zeros_like(vectors)
        for part, tokens in batches(job.inputs, job.batch):
            width = tokens.shape[1]
            found[part, :width] = table.gradient(tokens, vectors[part, :width], _of(loss, job.labels[part]))[1]
        return found

    def sloped(self, job: SampleBatch) -> tuple[nn.Module, Tensor]:
        """The model behind its table."""
        return FromVectors(job.model, job.inputs), WordEmbeddings(job.model).vectors(job.inputs)


def _of(loss: Loss, labels: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda logits: loss(logits, labels)
