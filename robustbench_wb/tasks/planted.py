"""A fact planted in a long row of filler, to be found by its key: the length, its place and its rivals can be set.

In the manner of associative recall and of needles in a haystack (Hsieh et al. 2024, RULER, arXiv 2404.06654). Every
sample is a function of its id, its label and the numbers asked for, so that it can be made again, longer or harder.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.models.shape import PAD, TextShape
from robustbench_wb.source import code_digest
from robustbench_wb.tasks.kept_splits import kept_splits
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.vocabulary import CLS, SPECIAL

KEYS, VALUES, FILLERS = 8, 10, 32
QUERY = len(SPECIAL)
"""Id of the query for key 0."""
FACT = QUERY + KEYS
"""Id of the fact that key 0 has value 0; the values of a key stand together."""
FILLER = FACT + KEYS * VALUES
VOCABULARY = FILLER + FILLERS
HEAD = 2
"""Tokens before the row: [CLS] and the query."""
RIVALS = KEYS - 1
"""Most facts of other keys in training."""
_DATA_SEED = 0
_CHUNK = 1024


@dataclass(frozen=True)
class Planting:
    """Where the fact of each of B samples lies, and what lies beside it: int64 (B,) each."""

    length: Tensor
    """Tokens, [CLS] and the query included."""
    place: Tensor
    """Token of the fact, from 2."""
    rivals: Tensor
    """Facts of other keys."""


def plant(ids: Tensor, labels: Tensor, planting: Planting, width: int, seed: int, stream: str) -> Tensor:
    """Token ids, int64 (B, width): ``[CLS] query row``, padded, where one fact of the row answers the query.

    Query, filler and rivals are drawn by sample id; no rival has the key of the query. The filler of a shorter sample
    is the beginning of that of a longer one, and more rivals leave those where they are that there were.
    """
    slots = width - HEAD
    keys = rng.words(ids, 1, seed, f"{stream} query") % KEYS
    row = FILLER + rng.words(ids, slots, seed, f"{stream} filler") % FILLERS
    facts = rng.words(ids, 2 * slots, seed, f"{stream} rivals")
    others = (keys + 1 + rng.below(KEYS - 1, facts[:, ::2])) % KEYS
    at = HEAD + torch.arange(slots)
    own, outside = at == planting.place[:, None], at >= planting.length[:, None]
    order = rng.words(ids, slots, seed, f"{stream} places").masked_fill(own | outside, torch.iinfo(torch.int64).max)
    rank = torch.argsort(torch.argsort(order, dim=1, stable=True), dim=1)
    row = torch.where(rank < planting.rivals[:, None], FACT + others * VALUES + rng.below(VALUES, facts[:, 1::2]), row)
    row = torch.where(own, FACT + keys * VALUES + labels[:, None], row).masked_fill(outside, PAD)
    return torch.cat([torch.full_like(keys, CLS), QUERY + keys, row], dim=1)


class PlantedFacts:
    """``[CLS] query row``: ten classes, the values that the fact with the queried key may have.

    In training and test, length, place and number of rivals are drawn anew for every sample: from a quarter of the
    length to all of it, anywhere, from no rival to one for every other key.
    """

    def __init__(self, name: str, length: int, room: int, train: int, test: int = 1000) -> None:
        self.name, self.length, self.room, self.train, self.test = name, length, room, train, test

    def load(self, data_dir: str | None) -> Dataset:
        """Generate; a mirror is not needed and not looked at."""
        sizes = {"train": self.train, "test": self.test, "validation": self.test}
        key = {"code": code_digest(__name__), "name": self.name, "length": self.length, "sizes": sizes}
        splits = kept_splits(
            key, self.name, "generate", lambda: {name: self._split(name, size) for name, size in sizes.items()}
        )
        classes = tuple(str(value) for value in range(VALUES))
        shape = TextShape(vocabulary=VOCABULARY, length=self.room, classes=VALUES)
        return Dataset(
            self.name,
            classes,
            splits["train"],
            splits["test"],
            shape,
            validation=splits["validation"],
            shortcuts=("majority", "bag-of-tokens"),
        )

    def _split(self, name: str, size: int) -> Split:
        """Made in parts, for the draws take eight bytes a token several times."""
        stream = f"{self.name} {name}"
        labels = rng.permutation(size, _DATA_SEED, stream) % VALUES
        rows = np.empty((size, self.length), np.int32)
        for ids in torch.split(torch.arange(size), _CHUNK):
            planting = self._planting(ids, stream)
            rows[ids[0] : ids[-1] + 1] = plant(ids, labels[ids], planting, self.length, _DATA_SEED, stream).numpy()
        return Split(rows, labels.numpy())

    def _planting(self, ids: Tensor, stream: str) -> Planting:
        draws = rng.words(ids, 3, _DATA_SEED, f"{stream} planting")
        shortest = self.length // 4
        length = shortest + rng.below(self.length - shortest + 1, draws[:, 0])
        return Planting(length, HEAD + rng.below(length - HEAD, draws[:, 1]), rng.below(RIVALS + 1, draws[:, 2]))


PLANTED_64 = PlantedFacts("planted-64", 64, 256, 16_000)
PLANTED_256 = PlantedFacts("planted-256", 256, 1024, 16_000)
PLANTED_1K = PlantedFacts("planted-1k", 1024, 4096, 16_000)
