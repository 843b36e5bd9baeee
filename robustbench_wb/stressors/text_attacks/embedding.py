"""FGSM and PGD on the word vectors of a text (Miyato, Dai & Goodfellow 2017; here for evaluation, not for training).

The result is a worst-case bound, not a feasible attack: the perturbed vectors belong to no text. Word vectors move
before positions are added; vectors of padding and special tokens stay.
"""

from abc import abstractmethod
from fractions import Fraction
from functools import partial
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.batching import batches
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.attack_losses import cross_entropy
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind, Stressor
from robustbench_wb.stressors.text_attacks.gradient_evidence import GradientEvidence
from robustbench_wb.stressors.token_ids import TokenIds, token_ids_of

ROUNDING = 1e-5
"""Tolerance for float32 rounding at the edge of the ball: a share of the radius, and of the largest value of a
vector."""


class EmbeddingAttack(Stressor):
    """Base of gradient attacks inside a ball around every word vector: per value in Linf, per word in L2.

    All samples of a batch take a step before any takes the next one. The forward passes of a step contain no broken
    samples, are full, and group texts of similar length.
    """

    axis: ClassVar[str | None] = "eps"
    modality = "labelled"
    kind: ClassVar[AttackKind | None] = "white-box"
    norm: ClassVar[Norm]

    eps: Exact = Field(gt=0)
    """Radius, an exact fraction; unit: the standard deviation of all values in the model's table of word vectors,
    special tokens excluded."""

    def adversarial(self) -> bool:
        """Return True: the attack looks for errors."""
        return True

    @property
    def threat(self) -> tuple[str, str]:
        """Norm and radius of the ball around each word vector."""
        return (f"embedding-{self.norm.name}", self.strength)

    @property
    def passes(self) -> tuple[int, int]:
        """One gradient per step, and one forward pass at the result of the last step."""
        return self.iterations + 1, self.iterations

    @property
    def iterations(self) -> int:
        """Gradient steps."""
        return 1

    @abstractmethod
    def start(self, words: Tensor, ids: Tensor, seed: int, radius: float) -> Tensor:
        """Starting points of word vectors (M, d), before projection; ``ids`` (M,) identify words, not samples."""

    @abstractmethod
    def propose(self, words: Tensor, gradient: Tensor, radius: float) -> Tensor:
        """Next word vectors (M, d), before projection."""

    def project(self, words: Tensor, moved: Tensor, radius: float) -> Tensor:
        """Project moved word vectors (M, d) onto the balls around their words."""
        limit = words.new_full((len(words), 1, 1, 1), radius)
        return words + _flat(self.norm.project(_image(moved - words), limit))

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Search for an adversarial example of every sample in the batch."""
        search = _Search(self, batch, access)
        alive = torch.arange(len(batch.ids), device=batch.ids.device)
        for step in range(self.iterations + 1):
            # The iterate after the last step is only classified.
            alive = alive[search.pass_over(alive, moving=step < self.iterations)]
        access.advance(len(alive))
        return search.result()

    def verify(self, batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> None:
        """Reject word vectors outside their balls, and changes to anything but words.

        Raises:
            MeasurementError: the perturbed batch violates the threat model.
        """
        if perturbed.vectors is None or not torch.equal(perturbed.inputs, batch.inputs):
            raise MeasurementError(f"{self.signature} has to perturb word vectors, not token ids")
        table = WordEmbeddings(access.model)
        clean = table.vectors(batch.inputs)
        change = perturbed.vectors - clean
        if not bool(torch.isfinite(change).all()):
            raise MeasurementError(f"{self.signature} produced word vectors that are not finite")
        real = token_ids_of(batch).ordinary(batch.inputs)
        if bool(change[~real].any()):
            raise MeasurementError(f"{self.signature} moved padding or special tokens")
        if not bool(real.any()):
            return
        radius = float(self.eps) * word_deviation(table, token_ids_of(batch), batch.inputs.device)
        farthest = float(self.norm.distance(_image(change[real])).max())
        if farthest > radius + ROUNDING * (radius + float(clean.abs().max())):
            raise MeasurementError(f"{self.signature} left its ball: distance {farthest:.6g} > {radius:.6g}")


class _Search:
    """State of the search for every sample of a batch."""

    def __init__(self, attack: EmbeddingAttack, batch: SampleBatch, access: ModelAccess) -> None:
        self.attack, self.batch, self.access = attack, batch, access
        self.table = WordEmbeddings(access.model)
        self.real = token_ids_of(batch).ordinary(batch.inputs)
        self.radius = float(attack.eps) * word_deviation(self.table, token_ids_of(batch), batch.inputs.device)
        self.vectors = self.table.vectors(batch.inputs)
        length = batch.inputs.shape[1]
        # Word ids depend on sample and position only: the noise does not depend on the amount of padding.
        ids = (batch.ids[:, None] * length + torch.arange(length, device=batch.ids.device))[self.real]
        words = self.vectors[self.real]
        start = attack.start(words, ids, seed=batch.seed, radius=self.radius)
        self.vectors[self.real] = attack.project(words, start, self.radius)
        self.forwards = torch.zeros_like(batch.ids, dtype=torch.int32)
        self.backwards = torch.zeros_like(self.forwards)
        self.broken = torch.zeros_like(batch.ids, dtype=torch.bool)
        self.failed = torch.zeros_like(self.broken)
        self.met = GradientEvidence(len(batch.ids))

    def pass_over(self, alive: Tensor, moving: bool) -> Tensor:
        """Classify the current iterates and, if ``moving``, take a step; returns a mask of ``alive`` samples still
        correct."""
        going = torch.zeros_like(alive, dtype=torch.bool)
        for part, tokens in batches(self.batch.inputs[alive], self.access.batch_size):
            rows = alive[part]
            current = self.vectors[rows, : tokens.shape[1]]
            if moving:
                logits, gradient = self.table.gradient(
                    tokens, current, partial(cross_entropy, labels=self.batch.labels[rows])
                )
                usable = torch.isfinite(gradient).flatten(1).all(1)
                self.met.record(rows, gradient)
                self.backwards[rows] += 1
            else:
                with torch.no_grad():
                    logits = self.table.logits(tokens, current)
                usable = torch.ones_like(rows, dtype=torch.bool)
            self.forwards[rows] += 1
            stays = going[part] = self._settle(rows, logits, usable)
            if moving:
                self._step(rows[stays], tokens[stays], current=current[stays], gradient=gradient[stays])
        return going

    def _settle(self, rows: Tensor, logits: Tensor, usable: Tensor) -> Tensor:
        """Record broken and failed samples; returns a mask of the others."""
        finite = torch.isfinite(logits).all(1)
        broken = finite & (logits.argmax(1) != self.batch.labels[rows])
        failed = ~broken & ~(finite & usable)
        self.broken[rows], self.failed[rows] = broken, failed
        self.access.advance(int((broken | failed).sum()))
        return ~(broken | failed)

    def _step(self, rows: Tensor, tokens: Tensor, *, current: Tensor, gradient: Tensor) -> None:
        width = tokens.shape[1]
        real = self.real[rows, :width]
        words = self.table.vectors(tokens)[real]
        proposed = self.attack.propose(current[real], gradient[real], self.radius)
        current[real] = self.attack.project(words, proposed, self.radius)
        self.vectors[rows, :width] = current

    def result(self) -> PerturbedBatch:
        held = ~self.broken & ~self.failed
        full = held & (self.forwards == self.attack.passes[0])
        return PerturbedBatch(
            inputs=self.batch.inputs,
            forwards=self.forwards.cpu().numpy(),
            backwards=self.backwards.cpu().numpy(),
            broken=self.broken.cpu().numpy(),
            failed=self.failed.cpu().numpy(),
            vectors=self.vectors,
            evidence={"held": int(held.sum()), "held_to_the_end": int(full.sum()), **self.met.evidence()},
        )


def word_deviation(table: WordEmbeddings, ids: TokenIds, device: torch.device) -> float:
    """Standard deviation of all values in ``word_vectors``."""
    return float(word_vectors(table, ids, device).double().std(correction=0))


def word_vectors(table: WordEmbeddings, ids: TokenIds, device: torch.device) -> Tensor:
    """Vectors (V, d) of the ids that are not special."""
    every = torch.arange(ids.vocabulary, device=device)
    return table.vectors(every[ids.ordinary(every)])


def _image(words: Tensor) -> Tensor:
    """Word vectors (M, d) as a batch of M samples (M, d, 1, 1) for the norms."""
    return words[:, :, None, None]


def _flat(words: Tensor) -> Tensor:
    return words[:, :, 0, 0]


class EmbeddingFgsm(EmbeddingAttack):
    """One step of length eps along the steepest direction, from the word vector itself."""

    kind = "single-step"

    def start(self, words: Tensor, ids: Tensor, seed: int, radius: float) -> Tensor:
        """Start at the word vectors."""
        return words

    def propose(self, words: Tensor, gradient: Tensor, radius: float) -> Tensor:
        """Take one step of length eps."""
        return words + radius * _flat(self.norm.steepest_direction(_image(gradient)))


class EmbeddingFgsmLinf(EmbeddingFgsm):
    """FGSM on word vectors in Linf: x + eps sign(grad)."""

    name: ClassVar[str] = "embedding-fgsm-linf"
    norm: ClassVar[Norm] = LINF


class EmbeddingFgsmL2(EmbeddingFgsm):
    """FGSM on word vectors in L2, for each word: x + eps grad / |grad|."""

    name: ClassVar[str] = "embedding-fgsm-l2"
    norm: ClassVar[Norm] = L2_NORM


class EmbeddingPgd(EmbeddingAttack):
    """Projected gradient ascent on the cross-entropy of the true label, from a uniform random start in the balls."""

    steps: int = Field(default=20, ge=1)
    step: Exact = Field(default=Fraction(1, 8), gt=0)
    """Step length as a share of eps."""

    @property
    def iterations(self) -> int:
        """Gradient steps."""
        return self.steps

    def start(self, words: Tensor, ids: Tensor, seed: int, radius: float) -> Tensor:
        """Start at a uniform draw from the ball of each word, a function of (seed, signature, sample id, position)."""
        shape = (words.shape[1], 1, 1)
        return words + radius * _flat(self.norm.uniform_in_ball(ids, shape, seed=seed, label=self.signature, step=0))

    def propose(self, words: Tensor, gradient: Tensor, radius: float) -> Tensor:
        """Take one step of length step * eps."""
        return words + float(self.step) * radius * _flat(self.norm.steepest_direction(_image(gradient)))


class EmbeddingPgdLinf(EmbeddingPgd):
    """PGD under a bound on the change of every value of a word vector."""

    name: ClassVar[str] = "embedding-pgd-linf"
    norm: ClassVar[Norm] = LINF


class EmbeddingPgdL2(EmbeddingPgd):
    """PGD under a bound on the Euclidean length of the change of every word vector."""

    name: ClassVar[str] = "embedding-pgd-l2"
    norm: ClassVar[Norm] = L2_NORM
