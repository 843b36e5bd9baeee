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
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.stressor import Modality
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

    def count_broken_by_black_box(self, batch: SampleBatch, access: ModelAccess) -> int:
        """Number of samples that a random search over word vectors breaks."""
        return int(word_walk(batch, access, eps=float(self.eps), queries=self.queries).sum())

    def loss_gradient(self, batch: SampleBatch, access: ModelAccess, loss: Loss) -> Tensor:
        """Gradient of each sample's loss with respect to its word vectors, (N, L, d)."""
        table = WordEmbeddings(access.model)
        vectors = table.vectors(batch.inputs)
        found = torch.zeros_like(vectors)
        for part, tokens in batches(batch.inputs, access.batch_size):
            width = tokens.shape[1]
            found[part, :width] = table.gradient(tokens, vectors[part, :width], _loss_of(loss, batch.labels[part]))[1]
        return found

    def differentiable(self, batch: SampleBatch, access: ModelAccess) -> tuple[nn.Module, Tensor]:
        """The model as a function of word vectors, and the vectors (N, L, d) of the samples."""
        return WordVectorModel(access.model, batch.inputs), WordEmbeddings(access.model).vectors(batch.inputs)


def _loss_of(loss: Loss, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Loss as a function of the logits alone, for fixed labels."""
    return lambda logits: loss(logits, labels)
