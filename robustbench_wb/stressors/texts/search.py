"""What every attack on the words of a text shares: finding them, asking the model, and the threat model.

A perturbed text is a text: candidates are put together as characters and go through the tokenizer before the model
sees them. What is found broken is therefore broken for whoever types it.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.inputs import to_inputs
from robustbench_wb.models.tokenizer import Span, Tokenizer
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.share import POSITIVE
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch, Stressor, predict
from robustbench_wb.tasks.lexicon import find_words

CHUNK = 4096
"""Candidates that are tokenized and asked for at a time."""


class Answers(NamedTuple):
    """What the model makes of some candidates, in their order."""

    losses: NDArray[np.float32]
    """Cross-entropy of the true label in nats; NaN where the logits are not finite."""
    wrong: NDArray[np.bool_]


class WordAttack(Stressor):
    """Changes some words of a text into others; the characters between words, and the number of words, stay."""

    modality = "text"
    changes: ClassVar[str]
    """What a word may become: attacks that share it, and the strength, have the same threat model."""

    def adversarial(self) -> bool:
        """Always: it looks for errors."""
        return True

    @property
    def threat(self) -> tuple[str, str]:
        """The words that may be changed, and how many."""
        return (self.changes, self.strength)

    @abstractmethod
    def allowed(self, words: int) -> int:
        """How many words may be changed in a text of which the model sees ``words`` words."""

    @abstractmethod
    def admits(self, job: SampleBatch, before: str, after: str) -> bool:
        """Whether one word may become another."""

    def verify(self, job: SampleBatch, stressed: PerturbedBatch) -> None:
        """Refuse ids that are not those of the texts, and texts that are changed in more or in other ways."""
        tokenizer, length = the_tokenizer(job), job.inputs.shape[1]
        texts = stressed.texts
        if texts is None or len(texts) != len(job.texts):
            raise MeasurementError(f"{self.signature} gave no text for some samples")
        ids = to_inputs(tokenizer.encode(texts, length), job.inputs.device)
        if not torch.equal(ids, stressed.inputs):
            raise MeasurementError(f"{self.signature} gave token ids that are not those of its texts")
        for before, after, seen in zip(job.texts, texts, seen_words(job), strict=True):
            changes = changed_words(before, after)
            if changes is None:
                raise MeasurementError(f"{self.signature} changed what stands between the words")
            if len(changes) > self.allowed(len(seen)):
                raise MeasurementError(f"{self.signature} changed {len(changes)} of {len(seen)} words")
            bad = next((pair for pair in changes if not self.admits(job, *pair)), None)
            if bad is not None:
                raise MeasurementError(f"{self.signature} may not make {bad[1]!r} of {bad[0]!r}")


class Rate(WordAttack):
    """A word attack whose strength is a share of the words."""

    axis: ClassVar[str | None] = "rate"

    rate: Exact = Field(gt=0, le=1)
    """Share of the words that the model sees of a text, an exact fraction."""

    def allowed(self, words: int) -> int:
        """The share, rounded down, but at least one word."""
        return max(1, int(self.rate * words))


class Budget(WordAttack):
    """A word attack whose strength is a number of words. Words are swapped for others that are one token, too."""

    axis: ClassVar[str | None] = "budget"
    changes: ClassVar[str] = "one-token words"

    budget: int = Field(ge=1)
    """Most words that are swapped in a text."""

    def allowed(self, words: int) -> int:
        """The same for every text."""
        return self.budget

    def admits(self, job: SampleBatch, before: str, after: str) -> bool:
        """Words of the training texts only."""
        return after in job.lexicon


class Search:
    """The texts of a job as they stand, and what is known of them."""

    def __init__(self, job: SampleBatch) -> None:
        self.job, self.tokenizer, self.length = job, the_tokenizer(job), job.inputs.shape[1]
        self.texts = list(job.texts)
        count = len(self.texts)
        self.losses = np.full(count, -np.inf, np.float32)
        """Of the texts as they stand, nats; -inf before the model was asked."""
        self.forwards, self.backwards = np.zeros(count, np.int32), np.zeros(count, np.int32)
        self.broken, self.failed, self.over = (np.zeros(count, np.bool_) for _ in range(3))

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids (N, L) on the device."""
        return to_inputs(self.tokenizer.encode(texts, self.length), self.job.inputs.device)

    def alive(self) -> list[int]:
        """Samples that are still searched."""
        found: list[int] = np.flatnonzero(~self.over).tolist()
        return found

    def end(self, rows: Sequence[int] | NDArray[np.int64]) -> None:
        """These are not searched any more."""
        ending = np.unique(np.asarray(rows, np.int64))
        self.job.advance(int((~self.over[ending]).sum()))
        self.over[ending] = True

    def fail(self, rows: Sequence[int] | NDArray[np.int64]) -> None:
        """The model gives these no finite answer."""
        self.failed[np.asarray(rows, np.int64)] = True
        self.end(rows)

    def ask(self, rows: Sequence[int], candidates: Sequence[Sequence[str]]) -> list[Answers]:
        """What the model makes of some candidates for each of some samples; every one is a forward pass."""
        counts = [len(some) for some in candidates]
        owners = np.repeat(np.array(rows, np.int64), counts)
        flat = [text for some in candidates for text in some]
        parts = [self._answers(flat[at : at + CHUNK], owners[at : at + CHUNK]) for at in range(0, len(flat), CHUNK)]
        np.add.at(self.forwards, owners, 1)
        losses, wrong = (np.concatenate([part[which] for part in parts] or [np.empty(0)]) for which in (0, 1))
        self.fail(owners[~np.isfinite(losses)])
        ends = np.cumsum(counts)
        return [
            Answers(losses[end - count : end], wrong[end - count : end].astype(np.bool_))
            for end, count in zip(ends, counts, strict=True)
        ]

    def _answers(self, texts: Sequence[str], owners: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Losses and whether the answers are wrong; a loss is NaN where the logits are not finite."""
        labels = self.job.labels[torch.from_numpy(owners).to(self.job.labels.device)]
        logits = predict(self.job.model, self.tokens(texts), self.job.batch)
        losses = F.cross_entropy(logits, labels, reduction="none")
        losses = losses.masked_fill(~torch.isfinite(logits).all(1), torch.nan)
        return losses.cpu().numpy(), (logits.argmax(1) != labels).cpu().numpy()

    def improve(self, rows: Sequence[int], candidates: Sequence[Sequence[str]]) -> dict[int, int]:
        """Ask, and take for each sample its best candidate: a wrong answer, or the greatest loss if it has grown.

        Returns which candidate was taken, for each sample that took one. A sample whose answer is wrong is broken, and
        at its end.
        """
        taken = {}
        for row, texts, found in zip(rows, candidates, self.ask(rows, candidates), strict=True):
            if self.over[row] or not texts:
                continue
            best = int(np.lexsort((found.losses, found.wrong))[-1])
            if found.wrong[best] or found.losses[best] > self.losses[row]:
                self.texts[row], self.losses[row] = texts[best], found.losses[best]
                self.broken[row] = found.wrong[best]
                taken[row] = best
        self.end(np.flatnonzero(self.broken))
        return taken

    def result(self) -> PerturbedBatch:
        """Everything as it stands at the end."""
        self.end(self.alive())
        return PerturbedBatch(
            self.tokens(self.texts), self.forwards, self.backwards, self.broken, self.failed, texts=tuple(self.texts)
        )

    def draw(self, rows: Sequence[int], count: int, label: str, step: int) -> list[list[int]]:
        """Random whole numbers >= 0, ``count`` for each sample, a function of (seed, label, sample id, step)."""
        ids = self.job.ids[torch.tensor(rows, dtype=torch.int64, device=self.job.ids.device)]
        numbers: list[list[int]] = (rng.words(ids, count, self.job.seed, label, step) & POSITIVE).tolist()
        return numbers


def the_tokenizer(job: SampleBatch) -> Tokenizer:
    """The tokenizer of a job, whose texts are what its inputs stand for.

    Raises:
        MeasurementError: it has no texts, or other ones.
    """
    if job.tokenizer is None or len(job.texts) != len(job.ids):
        raise MeasurementError("only texts with a tokenizer can be changed word by word")
    return job.tokenizer


def seen_words(job: SampleBatch) -> list[list[Span]]:
    """Where the words of each text stand, without those behind the place where it is cut."""
    spans = the_tokenizer(job).spans(job.texts, job.inputs.shape[1])
    seen = [max((end for _, end in some), default=0) for some in spans]
    return [[span for span in find_words(text) if span[0] < end] for text, end in zip(job.texts, seen, strict=True)]


def replace_words(text: str, words: Mapping[int, str]) -> str:
    """The text with other words; ``words`` holds the new ones by their number, from 0."""
    pieces, last = [], 0
    for number, (start, end) in enumerate(find_words(text)):
        pieces += [text[last:start], words.get(number, text[start:end])]
        last = end
    return "".join([*pieces, text[last:]])


def changed_words(before: str, after: str) -> list[tuple[str, str]] | None:
    """The words that differ, old and new; None if the texts differ in more than words."""
    old, new = find_words(before), find_words(after)
    if _between(before, old) != _between(after, new):
        return None
    pairs = [(before[slice(*a)], after[slice(*b)]) for a, b in zip(old, new, strict=True)]
    return [(a, b) for a, b in pairs if a != b]


def _between(text: str, words: Sequence[Span]) -> list[str]:
    edges = [0, *(edge for span in words for edge in span), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def token_places(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> list[dict[int, int]]:
    """For each text its words that are one token: the word's number, and the token's column."""
    found = []
    for text, spans in zip(texts, tokenizer.spans(texts, length), strict=True):
        numbers = {span: number for number, span in enumerate(find_words(text))}
        # A token may hold the spaces before its word.
        bare = [(end - len(text[start:end].lstrip()), end) for start, end in spans]
        found.append({numbers[span]: column for column, span in enumerate(bare) if span in numbers})
    return found


def token_words(job: SampleBatch) -> tuple[list[str], NDArray[np.int64]]:
    """The words of the lexicon that are one token, and their ids."""
    tokenizer, words = the_tokenizer(job), job.lexicon.words
    ids = tokenizer.encode([f" {word}" for word in words], min(job.inputs.shape[1], 8)).astype(np.int64)
    part = ~np.isin(ids, list(tokenizer.special))
    single = np.flatnonzero(part.sum(1) == 1)
    return [words[row] for row in single], ids[single, part[single].argmax(1)]
