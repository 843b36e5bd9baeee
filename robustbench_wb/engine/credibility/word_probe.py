"""Probe of a model of tokens: PGD on word vectors against a black-box attack in the same balls."""

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
    """PGD on word vectors that starts at the unperturbed words."""

    name: ClassVar[str] = "embedding-pgd-straight-linf"

    def start(self, words: Tensor, ids: Tensor, seed: int, radius: float) -> Tensor:
        """Start at the unperturbed words."""
        return words


class WordVectorModel(nn.Module):
    """A model as a function of word vectors (B, L, d), for fixed token ids (B, L)."""

    def __init__(self, model: nn.Module, tokens: Tensor) -> None:
        super().__init__()
        self.model, self.tokens = model, tokens

    def forward(self, vectors: Tensor) -> Tensor:
        """Compute logits (B, classes) from word vectors (B, L, d)."""
        return WordEmbeddings(self.model).logits(self.tokens, vectors)


class WordProbe(Probe):
    """Probe of a model of tokens. Radii are in standard deviations of the word-embedding table."""

    name: ClassVar[str] = "credibility-word-probe"
    modality: ClassVar[Modality] = "labelled"

    random_start = EmbeddingPgdLinf
    clean_start = ProbeEmbeddingPgd
    large_radius = Fraction(8)
    """Radius in standard deviations of a ball that holds nearly every other word."""

    def count_broken_by_black_box(self, job: SampleBatch) -> int:
        """Number of samples that a random search over word vectors breaks."""
        return int(word_walk(job, float(self.eps), self.queries).sum())

    def loss_gradient(self, job: SampleBatch, loss: Loss) -> Tensor:
        """Gradient of each sample's loss with respect to its word vectors, (N, L, d)."""
        table = WordEmbeddings(job.model)
        vectors = table.vectors(job.inputs)
        found = torch.zeros_like(vectors)
        for part, tokens in batches(job.inputs, job.batch):
            width = tokens.shape[1]
            found[part, :width] = table.gradient(tokens, vectors[part, :width], _loss_of(loss, job.labels[part]))[1]
        return found

    def differentiable(self, job: SampleBatch) -> tuple[nn.Module, Tensor]:
        """The model as a function of word vectors, and the vectors (N, L, d) of the samples."""
        return WordVectorModel(job.model, job.inputs), WordEmbeddings(job.model).vectors(job.inputs)


def _loss_of(loss: Loss, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Loss as a function of the logits alone, for fixed labels."""
    return lambda logits: loss(logits, labels)
