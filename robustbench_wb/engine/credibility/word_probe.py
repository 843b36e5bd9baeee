"""The probe of a subject of tokens: PGD on word vectors against a black box in the same balls."""

from fractions import Fraction
from typing import ClassVar

from torch import Tensor, nn

from robustbench_wb.engine.credibility.probe import Probe
from robustbench_wb.engine.credibility.word_walk import word_walk
from robustbench_wb.models.inputs import batches
from robustbench_wb.models.word_table import WordTable
from robustbench_wb.stressors.attacks.losses import Loss, cross_entropy, margin
from robustbench_wb.stressors.attacks.oracle import TINY
from robustbench_wb.stressors.stressor import Job, Modality, Stressed
from robustbench_wb.stressors.texts.embedding import EmbeddingPgdLinf

LARGE = Fraction(8)
"""Standard deviations of the table: a ball of this Linf radius around a word holds nearly every other word."""


class Straight(EmbeddingPgdLinf):
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
        return WordTable(self.model).logits(self.tokens, vectors)


class WordProbe(Probe):
    """In word vectors, radii in standard deviations of their table."""

    name: ClassVar[str] = "credibility-word-probe"
    modality: ClassVar[Modality] = "labelled"

    def straight(self, job: Job) -> Stressed:
        """From the words."""
        return Straight(eps=LARGE, steps=self.steps, step=Fraction(1, 8)).apply(job)

    def climb(self, job: Job) -> Stressed:
        """From a random start."""
        return EmbeddingPgdLinf(eps=self.eps, steps=self.steps, step=Fraction(1, 8)).apply(job)

    def black_box(self, job: Job) -> int:
        """The walk from word to word."""
        return int(word_walk(job, float(self.eps), self.queries).sum())

    def blind(self, job: Job) -> dict[str, int]:
        """At the words."""
        return {"blind_ce": _blind(job, cross_entropy), "blind_margin": _blind(job, margin)}

    def sloped(self, job: Job) -> tuple[nn.Module, Tensor]:
        """The model behind its table."""
        return FromVectors(job.model, job.inputs), WordTable(job.model).vectors(job.inputs)


def _blind(job: Job, loss: Loss) -> int:
    table = WordTable(job.model)
    return sum(_without_slope(table, tokens, job.labels[part], loss) for part, tokens in batches(job.inputs, job.batch))


def _without_slope(table: WordTable, tokens: Tensor, labels: Tensor, loss: Loss) -> int:
    _, gradient = table.gradient(tokens, table.vectors(tokens), lambda logits: loss(logits, labels))
    return int((gradient.abs().flatten(1).amax(1) < TINY).sum())
