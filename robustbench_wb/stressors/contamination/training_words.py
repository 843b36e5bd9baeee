"""Replacement of words and tokens in the training split."""

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.stressors.contamination.training_split import LARGE, choose_units, draw_integers, with_texts
from robustbench_wb.stressors.training_contamination import ContaminatedDataset
from robustbench_wb.tasks.lexicon import find_words
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.tasks.task_tokenizer import SPECIAL

WordReplacement = Callable[[str, int], str]
"""Function from a word and a random number >= 0 to another word."""


def swap_words(text: str, numbers: Mapping[int, int], swap: WordReplacement) -> str:
    """Text with some of its words (``find_words``) swapped; all other characters stay.

    ``numbers`` maps the position of each swapped word, among the words, to its random number.
    """
    pieces, last = [], 0
    for place, (start, end) in enumerate(find_words(text)):
        if place in numbers:
            pieces += [text[last:start], swap(text[start:end], numbers[place])]
            last = end
    return "".join([*pieces, text[last:]])


def swap_chosen_words(
    dataset: Dataset,
    rate: Fraction,
    swap: WordReplacement,
    *,
    seed: int,
    name: str,
    spared: frozenset[str] = frozenset(),
) -> ContaminatedDataset:
    """Dataset with round(rate x words) of all words of its training texts swapped, except ``spared`` words.

    If fewer words are not spared, all of these are swapped. The random number of a word depends on its position in the
    split.

    Raises:
        MeasurementError: there are no texts with labels; ``name`` is the stressor that the message blames.
    """
    texts = dataset.train.texts
    taken = [_open_words(text, spared) for text in texts]
    ends = np.cumsum([0, *map(len, taken)])
    places = np.flatnonzero(np.concatenate([*taken, np.zeros(0, np.bool_)]))
    count = min(round(rate * int(ends[-1])), len(places))
    chosen = places[choose_units(count, len(places), seed=seed, label=name)]
    numbers = draw_integers(chosen, 1, LARGE, seed=seed, label=f"{name}/word")[:, 0]
    rows = np.searchsorted(ends, chosen, side="right") - 1
    changed = {}
    for row in np.unique(rows).tolist():
        own = slice(*np.searchsorted(chosen, ends[row : row + 2]))
        inside = (chosen[own] - ends[row]).tolist()
        changed[row] = swap_words(texts[row], dict(zip(inside, numbers[own].tolist(), strict=True)), swap)
    return ContaminatedDataset(with_texts(dataset, changed, name), len(chosen), int(ends[-1]))


def _open_words(text: str, spared: frozenset[str]) -> NDArray[np.bool_]:
    """Mask of the words of a text that may be chosen, bool (words,)."""
    return np.array([text[start:end].lower() not in spared for start, end in find_words(text)], np.bool_)


class RandomWords:
    """Random words of a task: the most frequent words of its training texts.

    Raises:
        MeasurementError: the texts do not have two different words.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        self.words = dataset.lexicon.words
        self._places = {word: place for place, word in enumerate(self.words)}
        if len(self.words) < 2:
            raise MeasurementError(
                f"{name} needs two different words, but the texts of task {dataset.label!r} have fewer"
            )

    def any(self, word: str, number: int) -> str:
        """A word of the task, whatever the given word is; ``number`` is any integer >= 0."""
        return self.words[number % len(self.words)]

    def instead(self, word: str, number: int) -> str:
        """A word of the task that differs from the given one, ignoring case; ``number`` is any integer >= 0."""
        place = self._places.get(word.lower())
        if place is None:
            return self.any(word, number)
        return self.words[(place + 1 + number % (len(self.words) - 1)) % len(self.words)]


class RandomTokens:
    """Random token ids of a task, without special ids.

    Raises:
        MeasurementError: the task has no tokens.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        if isinstance(dataset.shape, ImageShape):
            raise MeasurementError(f"{name} contaminates tokens, but task {dataset.label!r} has none")
        special = range(len(SPECIAL)) if dataset.tokenizer is None else dataset.tokenizer.special
        self.ids = np.setdiff1d(np.arange(dataset.shape.vocabulary), list(special))

    def are(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Mask of tokens that are not special, bool of the same shape."""
        return np.isin(tokens, self.ids)

    def instead(self, tokens: NDArray[np.int32], numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """For each ordinary token another ordinary one; ``numbers`` are any integers >= 0, same shape."""
        steps = 1 + numbers % (len(self.ids) - 1)
        found: NDArray[np.int32] = self.ids[(np.searchsorted(self.ids, tokens) + steps) % len(self.ids)].astype(
            np.int32
        )
        return found
