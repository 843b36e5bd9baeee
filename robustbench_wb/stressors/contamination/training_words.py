"""Words and tokens of the training split, put in place of others."""

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.stressors.contamination.training import LARGE, choose, draw, with_texts
from robustbench_wb.stressors.retrained import Contaminated
from robustbench_wb.tasks.lexicon import find_words
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.tasks.vocabulary import SPECIAL

Swap = Callable[[str, int], str]
"""From a word and a random number from 0 to another word."""


def swap_words(text: str, numbers: Mapping[int, int], swap: Swap) -> str:
    """The text with some of its words (:func:`find_words`) swapped; ``numbers`` holds the random number of each place
    among the words that is. All else stays."""
    pieces, last = [], 0
    for place, (start, end) in enumerate(find_words(text)):
        if place in numbers:
            pieces += [text[last:start], swap(text[start:end], numbers[place])]
            last = end
    return "".join([*pieces, text[last:]])


def swap_chosen_words(
    dataset: Dataset, rate: Fraction, seed: int, name: str, swap: Swap, spared: frozenset[str] = frozenset()
) -> Contaminated:
    """The dataset with round(rate x words) of all words of its training texts swapped, or all that are not ``spared``.

    The random number of a word belongs to its place in the split.

    Raises:
        MeasurementError: there are no texts with labels; ``name`` is that of the stressor.
    """
    texts = dataset.train.texts
    taken = [_open_words(text, spared) for text in texts]
    ends = np.cumsum([0, *map(len, taken)])
    places = np.flatnonzero(np.concatenate([*taken, np.zeros(0, np.bool_)]))
    count = min(round(rate * int(ends[-1])), len(places))
    chosen = places[choose(count, len(places), seed, name)]
    numbers = draw(chosen, 1, LARGE, seed, f"{name}/word")[:, 0]
    rows = np.searchsorted(ends, chosen, side="right") - 1
    changed = {}
    for row in np.unique(rows).tolist():
        own = slice(*np.searchsorted(chosen, ends[row : row + 2]))
        inside = (chosen[own] - ends[row]).tolist()
        changed[row] = swap_words(texts[row], dict(zip(inside, numbers[own].tolist(), strict=True)), swap)
    return Contaminated(with_texts(dataset, changed, name), len(chosen), int(ends[-1]))


def _open_words(text: str, spared: frozenset[str]) -> NDArray[np.bool_]:
    """Which words of a text may be chosen, (words,)."""
    return np.array([text[start:end].lower() not in spared for start, end in find_words(text)], np.bool_)


class OtherWords:
    """Random words of a task: the most frequent ones of its training texts.

    Raises:
        MeasurementError: its texts do not have two different words.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        self.words = dataset.lexicon.words
        self._places = {word: place for place, word in enumerate(self.words)}
        if len(self.words) < 2:
            raise MeasurementError(f"{name} needs words, and the texts of task {dataset.label!r} do not have two")

    def any(self, word: str, number: int) -> str:
        """One of the words, whatever stood there; ``number`` is any from 0."""
        return self.words[number % len(self.words)]

    def instead(self, word: str, number: int) -> str:
        """One of the words that is another one, whatever its letters' case; ``number`` is any from 0."""
        place = self._places.get(word.lower())
        if place is None:
            return self.any(word, number)
        return self.words[(place + 1 + number % (len(self.words) - 1)) % len(self.words)]


class OtherTokens:
    """Random token ids of a task, special ones left out.

    Raises:
        MeasurementError: the task has none.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        if isinstance(dataset.shape, ImageShape):
            raise MeasurementError(f"{name} contaminates tokens, and task {dataset.label!r} has none")
        special = range(len(SPECIAL)) if dataset.tokenizer is None else dataset.tokenizer.special
        self.ids = np.setdiff1d(np.arange(dataset.shape.vocabulary), list(special))

    def are(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which tokens are none of the special ones, same shape."""
        return np.isin(tokens, self.ids)

    def instead(self, tokens: NDArray[np.int32], numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """For each token that is not special another one; ``numbers`` are any from 0, same shape."""
        steps = 1 + numbers % (len(self.ids) - 1)
        found: NDArray[np.int32] = self.ids[(np.searchsorted(self.ids, tokens) + steps) % len(self.ids)].astype(
            np.int32
        )
        return found
