"""Test texts in which words are replaced by a meaningless word."""

from typing import ClassVar

import torch
from pydantic import Field

from robustbench_wb import rng
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.swapped_words import LABEL, SWAPPED, SwapRounding, choose_swapped_words
from robustbench_wb.stressors.model_free import ModelFreeTextStressor
from robustbench_wb.tasks.lexicon import find_words


class WordSwap(ModelFreeTextStressor):
    """Every chosen word becomes ``AAA``; stop words are never chosen. Units: words, that is, runs of letters."""

    name: ClassVar[str] = "word-swap"
    axis: ClassVar[str | None] = "rate"

    rate: Exact = Field(ge=0, le=1)
    """Share of the words of a text. The papers use 3/200 and 1/40."""
    floor: SwapRounding = "none"

    def perturb(self, text: str, sample: int, seed: int) -> tuple[str, int, int]:
        """Swap the chosen words; all other characters stay."""
        spans = find_words(text)
        draws = rng.words(torch.tensor([sample]), 1 + len(spans), seed=seed, label=LABEL)[0].tolist()
        chosen = choose_swapped_words(
            [text[start:end] for start, end in spans], self.rate, floor=self.floor, draws=draws
        )
        pieces, last = [], 0
        for start, end in (spans[at] for at in chosen):
            pieces += [text[last:start], SWAPPED]
            last = end
        return "".join([*pieces, text[last:]]), len(chosen), len(spans)
