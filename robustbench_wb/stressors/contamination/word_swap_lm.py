"""Word swaps in language modelling, where a swapped word is also an answer.

A perplexity over all tokens mixes two questions: how well clean words are predicted from a contaminated context, and
how well the model predicts the contamination itself. ``targets`` separates them.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import PAD
from robustbench_wb.progress import Advance
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.swapped_words import LABEL, SWAPPED, SwapRounding, choose_swapped_words
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.tasks.lexicon import find_words
from robustbench_wb.tasks.task_tokenizer import TaskTokenizer

ScoredTokens = Literal["all", "clean", "swapped"]


class WordTokens(NamedTuple):
    """A word in a row of tokens: tokens ``first`` to ``end`` - 1, and the other text of these tokens around the
    word."""

    word: str
    first: int
    end: int
    before: str
    after: str


Choice = Callable[[int, Sequence[WordTokens]], list[int]]
"""Function from the number of a row in the batch and its words to the positions of the words that are swapped."""


class WordSwapLm(ModelFreeStressor):
    """The tokens of every chosen word become those of ``AAA``; all other tokens stay as they are, in their order.

    A row that becomes longer is cut to its length, a shorter one is padded. The choice of words does not depend on
    ``targets``. Units: words, including words that the ends of the row cut in two; a row is a line in the papers'
    terms.
    """

    name: ClassVar[str] = "word-swap-lm"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "language"

    rate: Exact = Field(ge=0, le=1)
    """Share of the words of a row. The papers use 3/200 and 1/40."""
    targets: ScoredTokens = "all"
    """Tokens whose prediction is scored. ``all``: every token, as in the papers. ``clean``: tokens outside swapped
    words. ``swapped``: tokens of ``AAA``. Padding is never scored."""
    floor: SwapRounding = "none"

    @model_validator(mode="after")
    def _something_is_swapped(self) -> Self:
        if self.targets == "swapped" and self.rate == 0:
            raise ValueError("targets=swapped needs a rate above 0: at rate 0 no word is swapped")
        return self

    @property
    def label(self) -> str:
        """Name and targets: different perplexities are different rows."""
        return f"{self.name}:{self.targets}"

    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Swap words row by row.

        Raises:
            MeasurementError: the token ids are not those of the task's own tokenizer.
        """
        tokenizer = None if batch.text is None else batch.text.tokenizer
        if not isinstance(tokenizer, TaskTokenizer):
            raise MeasurementError(f"{self.name} needs the token ids of a text task's own tokenizer")
        rows = batch.inputs.cpu().numpy()
        choose = self._choice(batch, tokenizer)
        inputs, counted = np.full(rows.shape, PAD, np.int32), np.zeros(rows.shape, np.bool_)
        changed, units = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        for row in range(len(rows)):
            places = find_word_tokens(rows[row], tokenizer)
            chosen = choose(row, places)
            tokens, swapped = _swap(rows[row], [places[at] for at in chosen], tokenizer)
            kept = min(len(tokens), rows.shape[1])
            inputs[row, :kept] = tokens[:kept]
            counted[row, :kept] = self._scored(swapped[:kept])
            changed[row], units[row] = len(chosen), len(places)
            advance(1)
        return PerturbedData(inputs=inputs, changed=changed, units=units, counted=counted & (inputs != PAD))

    def _choice(self, batch: SampleBatch, tokenizer: TaskTokenizer) -> Choice:
        """Choice of the swapped words of each row of the batch."""
        draws = rng.words(batch.ids.cpu(), 1 + batch.inputs.shape[1], seed=batch.seed, label=LABEL).tolist()
        return lambda row, places: self._chosen(places, draws[row])

    def _chosen(self, places: Sequence[WordTokens], draws: Sequence[int]) -> list[int]:
        words = [place.word for place in places]
        return choose_swapped_words(words, self.rate, floor=self.floor, draws=draws)

    def _scored(self, swapped: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if self.targets == "all":
            return np.ones_like(swapped)
        return swapped if self.targets == "swapped" else ~swapped


def find_word_tokens(row: NDArray[np.int64], tokenizer: TaskTokenizer) -> list[WordTokens]:
    """Words of a row of token ids, left to right. Special tokens separate words.

    A token belongs to one word. If it holds parts of two words, which needs letters that are numbers, the first counts.
    """
    pieces = [tokenizer.pieces[token] or b"\n" for token in row.tolist()]
    # An incomplete character at an end of the row becomes a single letter that is no part of a word.
    text = b"".join(pieces).decode("utf-8", "surrogateescape")
    sizes = [len(letter.encode("utf-8", "surrogateescape")) for letter in text]
    byte_at = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    owner = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    starts = np.concatenate(([0], np.cumsum([len(piece) for piece in pieces], dtype=np.int64)))
    found: list[WordTokens] = []
    for start, stop in find_words(text):
        left, right = int(byte_at[start]), int(byte_at[stop])
        first, end = int(owner[left]), int(owner[right - 1]) + 1
        if found and first < found[-1].end:
            continue
        before = b"".join(pieces[first:end])[: left - int(starts[first])].decode("utf-8", "replace")
        after = b"".join(pieces[first:end])[right - int(starts[first]) :].decode("utf-8", "replace")
        found.append(WordTokens(word=text[start:stop], first=first, end=end, before=before, after=after))
    return found


def _swap(
    row: NDArray[np.int64], places: list[WordTokens], tokenizer: TaskTokenizer
) -> tuple[list[int], NDArray[np.bool_]]:
    """Tokens of the row with the words at ``places`` swapped, of any number, and a mask of the tokens of swapped
    words."""
    tokens: list[int] = []
    swapped: list[bool] = []
    last = 0
    for place in places:
        kept = row[last : place.first].tolist()
        new = tokenizer.encode_part(f"{place.before}{SWAPPED}{place.after}")
        tokens += [*kept, *new]
        swapped += [False] * len(kept) + [True] * len(new)
        last = place.end
    rest = row[last:].tolist()
    return [*tokens, *rest], np.array([*swapped, *(False for _ in rest)], np.bool_)
