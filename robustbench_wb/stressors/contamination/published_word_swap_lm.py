"""Word swaps in language modelling as some papers on robust attention run them in their public code."""

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.stressors.contamination.swapped_words import LABEL
from robustbench_wb.stressors.contamination.word_swap_lm import Choice, WordSwapLm, find_word_tokens
from robustbench_wb.stressors.protocol import ProtocolName
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.task_tokenizer import SEP, TaskTokenizer


class PublishedWordSwapLm(WordSwapLm):
    """Words are chosen in each whole line of the texts, wherever the rows cut it: at least one per line.

    The papers (Elliptical Attention, Nielsen et al. 2024, and those that share its code) take TextAttack's augmenter.
    It swaps max(1, rate x words, rounded down) words of every line and no stop words. All tokens are scored, inputs and
    answers alike. Short lines are contaminated at more than the rate. Here the choice has a seed.
    """

    name: ClassVar[str] = "published-word-swap-lm"
    protocol: ClassVar[ProtocolName] = "as-published"

    targets: Literal["all"] = "all"
    floor: Literal["one"] = "one"

    @property
    def label(self) -> str:
        """Name alone: all tokens are scored."""
        return self.name

    def _choice(self, batch: SampleBatch, tokenizer: TaskTokenizer) -> Choice:
        swapped = self._swapped_tokens(batch, tokenizer)
        return lambda row, places: [
            at for at, place in enumerate(places) if swapped[row, place.first : place.end].any()
        ]

    def _swapped_tokens(self, batch: SampleBatch, tokenizer: TaskTokenizer) -> NDArray[np.bool_]:
        """Mask of the tokens of swapped words, bool (B, L).

        The rows of the split are one stream, in which [SEP] ends every line. A line is known by the place of its first
        token in the stream.
        """
        if batch.split is None:
            raise MeasurementError(f"{self.name} needs the complete test split")
        width, ids = batch.inputs.shape[1], batch.ids.cpu().numpy()
        stream = np.asarray(batch.split.inputs).reshape(-1)
        ends = np.append(np.flatnonzero(stream == SEP) + 1, len(stream))
        swapped = np.zeros(len(stream), np.bool_)
        first, last = (np.searchsorted(ends, ids * width + at, side="right") for at in (0, width - 1))
        for line in np.unique(np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)])).tolist():
            start = int(ends[line - 1]) if line else 0
            places = find_word_tokens(stream[start : ends[line]], tokenizer)
            draws = rng.words(torch.tensor([start]), 1 + len(places), seed=batch.seed, label=f"{LABEL} lines")[0]
            for at in self._chosen(places, draws.tolist()):
                swapped[start + places[at].first : start + places[at].end] = True
        rows: NDArray[np.bool_] = swapped.reshape(-1, width)[ids]
        return rows
