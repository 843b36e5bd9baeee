"""Planted facts: find the value of a queried key in a long sequence of filler and distractor facts.

The tasks follow associative recall and needle-in-a-haystack tests (Hsieh et al. 2024, RULER, arXiv 2404.06654). A
sample is a function of its id, label, length, position of the fact and number of distractors, so that a longer or
harder version of it can be generated.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.models.shape import PAD, TextShape
from robustbench_wb.source import code_digest
from robustbench_wb.tasks.split_cache import load_or_make_splits
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.task_tokenizer import CLS, SPECIAL

KEYS, VALUES, FILLERS = 8, 10, 32
"""Numbers of keys, of values per key, and of filler tokens."""
QUERY = len(SPECIAL)
"""Token id of the query for key 0."""
FACT = QUERY + KEYS
"""Token id of the fact that key 0 has value 0; the ids of the values of a key are consecutive."""
FILLER = FACT + KEYS * VALUES
"""Token id of the first filler token."""
VOCABULARY = FILLER + FILLERS
"""Number of token ids."""
HEAD = 2
"""Number of tokens before the filler: [CLS] and the query."""
MAX_DISTRACTORS = KEYS - 1
"""Largest number of facts of other keys (distractors) in a training sample."""
_DATA_SEED = 0
_CHUNK = 1024


@dataclass(frozen=True)
class FactLayout:
    """Layout of B samples: length, position of the fact, and number of distractors, each int64 (B,)."""

    length: Tensor
    """Number of tokens, including [CLS] and the query."""
    position: Tensor
    """Position of the fact in the sequence, at least 2."""
    distractors: Tensor
    """Number of facts of other keys (distractors)."""


def plant_facts(ids: Tensor, labels: Tensor, planting: FactLayout, width: int, seed: int, stream: str) -> Tensor:
    """Make sequences ``[CLS] query filler`` in which exactly one fact has the queried key, int64 (B, width), padded.

    Query, filler and distractors depend on the sample id. A shorter sample has the beginning of the filler of a longer
    one, and additional distractors leave the others in place.

    Args:
        ids: sample ids, int64 (B,).
        labels: values of the queried keys, 0 to 9, int64 (B,).
        planting: length, position and number of distractors of each sample.
        width: columns of the result, at least the greatest length.
        seed: run seed.
        stream: name of the random stream.
    """
    slots = width - HEAD
    keys = rng.words(ids, 1, seed=seed, label=f"{stream} query") % KEYS
    row = FILLER + rng.words(ids, slots, seed=seed, label=f"{stream} filler") % FILLERS
    facts = rng.words(ids, 2 * slots, seed=seed, label=f"{stream} rivals")
    others = (keys + 1 + rng.bounded_integers(KEYS - 1, facts[:, ::2])) % KEYS
    at = HEAD + torch.arange(slots)
    own, outside = at == planting.position[:, None], at >= planting.length[:, None]
    order = rng.words(ids, slots, seed=seed, label=f"{stream} places").masked_fill(
        own | outside, torch.iinfo(torch.int64).max
    )
    rank = torch.argsort(torch.argsort(order, dim=1, stable=True), dim=1)
    row = torch.where(
        rank < planting.distractors[:, None], FACT + others * VALUES + rng.bounded_integers(VALUES, facts[:, 1::2]), row
    )
    row = torch.where(own, FACT + keys * VALUES + labels[:, None], row).masked_fill(outside, PAD)
    return torch.cat([torch.full_like(keys, CLS), QUERY + keys, row], dim=1)


class PlantedFactsTask:
    """Task on sequences ``[CLS] query filler``: predict the value, one of ten, of the fact with the queried key.

    Length (a quarter of ``length`` to all of it), position of the fact (anywhere) and number of distractors (0 to
    ``RIVALS``) are uniform random for every sample.

    Args:
        name: name of the task, and of the random stream.
        length: longest training sequence in tokens.
        room: longest input in tokens that a model must accept.
        train: training samples.
        test: test samples; the validation split has as many.
    """

    def __init__(self, name: str, length: int, room: int, train: int, test: int = 1000) -> None:
        self.name, self.length, self.room, self.train, self.test = name, length, room, train, test

    def load(self, data_dir: str | None) -> Dataset:
        """Generate all splits, or read them from the cache; ``data_dir`` is ignored."""
        sizes = {"train": self.train, "test": self.test, "validation": self.test}
        key = {"code": code_digest(__name__), "name": self.name, "length": self.length, "sizes": sizes}
        splits = load_or_make_splits(
            key,
            name=self.name,
            verb="generate",
            make=lambda: {name: self._split(name, size) for name, size in sizes.items()},
        )
        classes = tuple(str(value) for value in range(VALUES))
        shape = TextShape(vocabulary=VOCABULARY, length=self.room, classes=VALUES)
        return Dataset(
            label=self.name,
            classes=classes,
            train=splits["train"],
            test=splits["test"],
            shape=shape,
            validation=splits["validation"],
            shortcuts=("majority", "bag-of-tokens"),
        )

    def _split(self, name: str, size: int) -> Split:
        """Make one split, in chunks because the random words take several times eight bytes per token."""
        stream = f"{self.name} {name}"
        labels = rng.permutation(size, seed=_DATA_SEED, label=stream) % VALUES
        rows = np.empty((size, self.length), np.int32)
        for ids in torch.split(torch.arange(size), _CHUNK):
            planting = self._planting(ids, stream)
            rows[ids[0] : ids[-1] + 1] = plant_facts(
                ids, labels[ids], planting, width=self.length, seed=_DATA_SEED, stream=stream
            ).numpy()
        return Split(inputs=rows, labels=labels.numpy())

    def _planting(self, ids: Tensor, stream: str) -> FactLayout:
        draws = rng.words(ids, 3, seed=_DATA_SEED, label=f"{stream} planting")
        shortest = self.length // 4
        length = shortest + rng.bounded_integers(self.length - shortest + 1, draws[:, 0])
        return FactLayout(
            length,
            HEAD + rng.bounded_integers(length - HEAD, draws[:, 1]),
            rng.bounded_integers(MAX_DISTRACTORS + 1, draws[:, 2]),
        )


PLANTED_64 = PlantedFactsTask("planted-64", length=64, room=256, train=16_000)
PLANTED_256 = PlantedFactsTask("planted-256", length=256, room=1024, train=16_000)
PLANTED_1K = PlantedFactsTask("planted-1k", length=1024, room=4096, train=16_000)
