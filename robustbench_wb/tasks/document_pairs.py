"""Do two documents belong together? Byte by byte, each read alone: retrieval in the manner of Long Range Arena."""

import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import Pool, TextShape
from robustbench_wb.source import code_digest
from robustbench_wb.tasks.kept_splits import kept_splits
from robustbench_wb.tasks.source import locate
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.vocabulary import Encoding, encode, train_tokenizer

CLASSES = ("apart", "together")
_VALIDATION = 0.1
_AAN = "aan"
_AAN_FILE = "new_aan_pairs.{}.tsv"


def pair_rows(first: list[str], second: list[str], length: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """``[CLS] bytes [SEP]`` of both, cut and padded to ``length`` each: (N, 2 length); and the longer one's size."""
    tokenizer = train_tokenizer((), Encoding(kind="bytes", length=length))
    (left, sizes), (right, others) = encode(tokenizer, first, length), encode(tokenizer, second, length)
    return np.concatenate([left, right], axis=1), np.maximum(sizes, others)


class ReviewPairs:
    """The halves of film reviews: two of the same review, or two of different ones, as often.

    Every review of the source gives one pair: its first half, and its own second half or that of another review of the
    split. Halves end where a word does. In place of the papers of Tay et al. 2021, which are not handed on.
    """

    def __init__(self, name: str, length: int) -> None:
        self.name, self.length = name, length

    def load(self, data_dir: str | None) -> Dataset:
        """Reviews as ``imdb`` has them; a tenth of the training pairs is for validation."""
        source = locate("stanfordnlp/imdb", data_dir)

        def make() -> dict[str, Split]:
            rows = source.open()
            return {name: self._split([str(text) for text in rows[name]["text"]]) for name in ("train", "test")}

        key = {"code": code_digest(__name__), "source": source.digest, "length": self.length}
        splits = kept_splits(key, self.name, "encode", make)
        train, test = splits["train"], splits["test"]
        rest = round(len(train) * (1 - _VALIDATION))
        return _dataset(self.name, self.length, "mean", train.part(slice(rest)), test, train.part(slice(rest, None)))

    def _split(self, texts: list[str]) -> Split:
        order = np.random.RandomState(0).permutation(len(texts))
        cuts = [text.find(" ", len(text) // 2) for text in texts]
        halves = [
            (text[:cut], text[cut + 1 :]) if cut > 0 else (text, "") for text, cut in zip(texts, cuts, strict=True)
        ]
        labels = np.arange(len(texts), dtype=np.int64) % 2
        # The apart ones take the second half of the next apart one, so that every half is used once.
        apart = order[labels == 0]
        partner = dict(zip(apart.tolist(), np.roll(apart, 1).tolist(), strict=True))
        second = [halves[partner.get(row, row)][1] for row in order.tolist()]
        inputs, sizes = pair_rows([halves[row][0] for row in order.tolist()], second, self.length)
        return Split(inputs, labels, sizes=sizes)


class PublishedPairs:
    """Papers of the ACL Anthology Network that cite each other, or not (Radev et al. 2013), as published by Tay et al.

    The files ``new_aan_pairs.{train,eval,test}.tsv`` in a folder ``aan`` of the mirror: label, two ids, two texts.
    """

    name, length = "lra-retrieval", 4000

    def load(self, data_dir: str | None) -> Dataset:
        """Read the files.

        Raises:
            DataError: there is no mirror with these files, or a line is not what it should be.
        """
        train, validation, test = (self._read(data_dir, part) for part in ("train", "eval", "test"))
        return _dataset(self.name, self.length, "cls", train, test, validation)

    def _read(self, data_dir: str | None, part: str) -> Split:
        path = Path(data_dir or os.environ.get("RBWB_DATA_DIR") or ".") / _AAN / _AAN_FILE.format(part)
        if not path.is_file():
            raise DataError(
                f"{self.name} needs {_AAN}/{_AAN_FILE.format(part)} in the folder that --data-dir names: the texts "
                "are not handed on; task retrieval has pairs of another corpus"
            )
        labels, first, second = [], [], []
        csv.field_size_limit(1 << 30)
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
                if len(row) != 5 or row[0] not in ("0", "1", "0.0", "1.0"):
                    raise DataError(f"{path.name} line {number}: expected label, two ids and two texts")
                labels.append(int(float(row[0])))
                first.append(row[3])
                second.append(row[4])
        inputs, sizes = pair_rows(first, second, self.length)
        return Split(inputs, np.array(labels, np.int64), sizes=sizes)


def _dataset(name: str, length: int, pool: Pool, train: Split, test: Split, validation: Split) -> Dataset:
    vocabulary = train_tokenizer((), Encoding(kind="bytes", length=length)).get_vocab_size()
    shape = TextShape(vocabulary=vocabulary, length=length, classes=len(CLASSES), pool=pool, documents=2)
    return Dataset(
        name, CLASSES, train, test, shape, validation=validation, shortcuts=("majority", "bag-of-tokens", "bag-overlap")
    )


RETRIEVAL = ReviewPairs("retrieval", 4096)
RETRIEVAL_1K = ReviewPairs("retrieval-1k", 512)
LRA_RETRIEVAL = PublishedPairs()
