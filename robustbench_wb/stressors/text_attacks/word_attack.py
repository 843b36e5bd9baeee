"""Base of word attacks: words of a text, queries to the model, and the threat model.

The result of an attack is a text: candidates are assembled as characters and tokenized before the model sees them. A
text that is found broken is therefore broken for anybody who types it.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.tokenizer import Span, Tokenizer
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.model_access import ModelAccess, predict
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch, TextSide
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.stressors.unit_choice import MASK_63_BITS
from robustbench_wb.tasks.lexicon import find_words

CHUNK = 4096
"""Candidates that are tokenized and classified at a time."""


class CandidateLosses(NamedTuple):
    """Losses and predictions for the candidates of one sample, in their order."""

    losses: NDArray[np.float32]
    """Cross-entropy of the true label in nats; NaN where the logits are not finite."""
    wrong: NDArray[np.bool_]


class WordAttack(Stressor):
    """Base of attacks that change words of a text; the number of words and the characters between them stay."""

    modality = "text"
    changes: ClassVar[str]
    """Name of the set of allowed replacements: attacks with equal set and strength have one threat model."""

    def adversarial(self) -> bool:
        """Return True: word attacks look for errors."""
        return True

    @property
    def threat(self) -> tuple[str, str]:
        """Allowed replacements and strength."""
        return (self.changes, self.strength)

    @abstractmethod
    def allowed(self, words: int) -> int:
        """Largest number of changed words in a text of which the model sees ``words`` words."""

    @abstractmethod
    def admits(self, batch: SampleBatch, before: str, after: str) -> bool:
        """Whether the word ``before`` may become ``after``."""

    def begin(self, batch: SampleBatch, access: ModelAccess) -> "TextSearch":
        """Search that has not changed a text yet."""
        return TextSearch(batch, access)

    def verify(self, batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> None:
        """Reject token ids that do not belong to the texts, and texts that are changed in more or other ways.

        Raises:
            MeasurementError: the perturbed batch violates the threat model.
        """
        text, length = require_text(batch), batch.inputs.shape[1]
        texts = perturbed.texts
        if texts is None or len(texts) != len(text.texts):
            raise MeasurementError(f"{self.signature} returned no text for some samples")
        ids = to_inputs(text.tokenizer.encode(texts, length), batch.inputs.device)
        if not torch.equal(ids, perturbed.inputs):
            raise MeasurementError(f"{self.signature} returned token ids that do not belong to its texts")
        for before, after, seen in zip(text.texts, texts, visible_words(batch), strict=True):
            changes = changed_words(before, after)
            if changes is None:
                raise MeasurementError(f"{self.signature} changed characters between the words")
            if len(changes) > self.allowed(len(seen)):
                raise MeasurementError(f"{self.signature} changed {len(changes)} of {len(seen)} words")
            bad = next(((old, new) for old, new in changes if not self.admits(batch, old, new)), None)
            if bad is not None:
                raise MeasurementError(f"{self.signature} may not replace {bad[0]!r} by {bad[1]!r}")


class WordRateAttack(WordAttack):
    """Base of word attacks whose strength is a share of the words."""

    axis: ClassVar[str | None] = "rate"

    rate: Exact = Field(gt=0, le=1)
    """Share of the words of a text that the model sees, an exact fraction."""

    def allowed(self, words: int) -> int:
        """Share of the words, rounded down, but at least one word."""
        return max(1, int(self.rate * words))


class WordBudgetAttack(WordAttack):
    """Base of word attacks whose strength is a number of words; only words that are one token are swapped and used."""

    axis: ClassVar[str | None] = "budget"
    changes: ClassVar[str] = "one-token words"

    budget: int = Field(ge=1)
    """Largest number of swapped words in a text."""

    def allowed(self, words: int) -> int:
        """The budget, for every text."""
        return self.budget

    def admits(self, batch: SampleBatch, before: str, after: str) -> bool:
        """Whether the new word occurs in the training texts."""
        return after in require_text(batch).lexicon


class TextSearch:
    """Current texts of a batch with their losses, costs and states."""

    def __init__(self, batch: SampleBatch, access: ModelAccess) -> None:
        self.batch, self.access, self.length = batch, access, batch.inputs.shape[1]
        text = require_text(batch)
        self.tokenizer, self.texts = text.tokenizer, list(text.texts)
        count = len(self.texts)
        self.losses = np.full(count, -np.inf, np.float32)
        """float32 (N,), loss of the current texts in nats; -inf before the first query."""
        self.forwards, self.backwards = np.zeros(count, np.int32), np.zeros(count, np.int32)
        self.broken, self.failed, self.over = (np.zeros(count, np.bool_) for _ in range(3))

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids (N, L) of texts, on the device."""
        return to_inputs(self.tokenizer.encode(texts, self.length), self.batch.inputs.device)

    def alive(self) -> list[int]:
        """Samples whose search continues."""
        found: list[int] = np.flatnonzero(~self.over).tolist()
        return found

    def end(self, rows: Sequence[int] | NDArray[np.int64]) -> None:
        """End the search of some samples."""
        ending = np.unique(np.asarray(rows, np.int64))
        self.access.advance(int((~self.over[ending]).sum()))
        self.over[ending] = True

    def fail(self, rows: Sequence[int] | NDArray[np.int64]) -> None:
        """Mark samples whose logits or gradients are not finite as failed, and end their search."""
        self.failed[np.asarray(rows, np.int64)] = True
        self.end(rows)

    def ask(self, rows: Sequence[int], candidates: Sequence[Sequence[str]]) -> list[CandidateLosses]:
        """Classify some candidates for each of some samples; every candidate costs one forward pass."""
        counts = [len(some) for some in candidates]
        owners = np.repeat(np.array(rows, np.int64), counts)
        flat = [text for some in candidates for text in some]
        parts = [self._answers(flat[at : at + CHUNK], owners[at : at + CHUNK]) for at in range(0, len(flat), CHUNK)]
        np.add.at(self.forwards, owners, 1)
        losses = np.concatenate([part.losses for part in parts] or [np.empty(0, np.float32)])
        wrong = np.concatenate([part.wrong for part in parts] or [np.empty(0, np.bool_)])
        self.fail(owners[~np.isfinite(losses)])
        ends = np.cumsum(counts)
        return [
            CandidateLosses(losses[end - count : end], wrong[end - count : end])
            for end, count in zip(ends, counts, strict=True)
        ]

    def _answers(self, texts: Sequence[str], owners: NDArray[np.int64]) -> CandidateLosses:
        """Losses and misclassifications, (N,) each; a loss is NaN where the logits are not finite."""
        labels = self.batch.labels[torch.from_numpy(owners).to(self.batch.labels.device)]
        logits = predict(self.access.model, self.tokens(texts), self.access.batch_size)
        losses = F.cross_entropy(logits, labels, reduction="none")
        losses = losses.masked_fill(~torch.isfinite(logits).all(1), torch.nan)
        return CandidateLosses(losses.cpu().numpy(), (logits.argmax(1) != labels).cpu().numpy())

    def improve(self, rows: Sequence[int], candidates: Sequence[Sequence[str]]) -> dict[int, int]:
        """Classify candidates, and take the best one of each sample: an error, or the greatest loss if it rises.

        Candidates that are not permitted are not classified. Returns the index of the taken candidate for each sample
        that took one. A misclassified sample is broken, and its search ends.
        """
        taken = {}
        permitted = self.permitted(rows, candidates)
        asked = [[texts[at] for at in places] for texts, places in zip(candidates, permitted, strict=True)]
        for row, texts, places, found in zip(rows, asked, permitted, self.ask(rows, asked), strict=True):
            if self.over[row] or not texts:
                continue
            best = int(np.lexsort((found.losses, found.wrong))[-1])
            if found.wrong[best] or found.losses[best] > self.losses[row]:
                self.texts[row], self.losses[row] = texts[best], found.losses[best]
                self.broken[row] = found.wrong[best]
                taken[row] = places[best]
        self.end(np.flatnonzero(self.broken))
        return taken

    def permitted(self, rows: Sequence[int], candidates: Sequence[Sequence[str]]) -> Sequence[Sequence[int]]:
        """Places, among the candidates of each sample, of those that the model may be asked about: all."""
        return [range(len(some)) for some in candidates]

    def result(self) -> PerturbedBatch:
        """Perturbed batch of the current texts; ends the search of all samples."""
        self.end(self.alive())
        return PerturbedBatch(
            inputs=self.tokens(self.texts),
            forwards=self.forwards,
            backwards=self.backwards,
            broken=self.broken,
            failed=self.failed,
            texts=tuple(self.texts),
        )

    def draw(self, rows: Sequence[int], count: int, *, label: str, step: int) -> list[list[int]]:
        """Random integers >= 0, ``count`` for each sample, a function of (seed, label, sample id, step)."""
        ids = self.batch.ids[torch.tensor(rows, dtype=torch.int64, device=self.batch.ids.device)]
        words = rng.words(ids, count, seed=self.batch.seed, label=label, step=step)
        numbers: list[list[int]] = (words & MASK_63_BITS).tolist()
        return numbers


def require_text(batch: SampleBatch) -> TextSide:
    """Texts of a batch, one per sample.

    Raises:
        MeasurementError: the batch has no texts, or no tokenizer.
    """
    if batch.text is None or len(batch.text.texts) != len(batch.ids):
        raise MeasurementError("only texts with a tokenizer can be changed word by word")
    return batch.text


def visible_words(batch: SampleBatch) -> list[list[Span]]:
    """Positions of the words of each text that the model sees, that is, before the truncation."""
    text = require_text(batch)
    spans = text.tokenizer.spans(text.texts, batch.inputs.shape[1])
    seen = [max((end for _, end in some), default=0) for some in spans]
    return [[span for span in find_words(one) if span[0] < end] for one, end in zip(text.texts, seen, strict=True)]


def replace_words(text: str, words: Mapping[int, str]) -> str:
    """Text with other words; ``words`` maps word numbers, from 0, to the new words."""
    pieces, last = [], 0
    for number, (start, end) in enumerate(find_words(text)):
        pieces += [text[last:start], words.get(number, text[start:end])]
        last = end
    return "".join([*pieces, text[last:]])


def changed_words(before: str, after: str) -> list[tuple[str, str]] | None:
    """Pairs of old and new word that differ; None if the texts differ in more than words."""
    old, new = find_words(before), find_words(after)
    if _between(before, old) != _between(after, new):
        return None
    pairs = [(before[slice(*a)], after[slice(*b)]) for a, b in zip(old, new, strict=True)]
    return [(a, b) for a, b in pairs if a != b]


def _between(text: str, words: Sequence[Span]) -> list[str]:
    edges = [0, *(edge for span in words for edge in span), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def single_token_columns(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> list[dict[int, int]]:
    """For each text, the words that are one token: word number to token column."""
    found = []
    for text, spans in zip(texts, tokenizer.spans(texts, length), strict=True):
        numbers = {span: number for number, span in enumerate(find_words(text))}
        # A token may hold the spaces before its word.
        bare = [(end - len(text[start:end].lstrip()), end) for start, end in spans]
        found.append({numbers[span]: column for column, span in enumerate(bare) if span in numbers})
    return found


def single_token_words(batch: SampleBatch) -> tuple[list[str], NDArray[np.int64]]:
    """Words of the lexicon that are one token, and their ids."""
    text = require_text(batch)
    tokenizer, words = text.tokenizer, text.lexicon.words
    ids = tokenizer.encode([f" {word}" for word in words], min(batch.inputs.shape[1], 8)).astype(np.int64)
    part = ~np.isin(ids, list(tokenizer.special))
    single = np.flatnonzero(part.sum(1) == 1)
    return [words[row] for row in single], ids[single, part[single].argmax(1)]
