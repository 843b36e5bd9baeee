"""Retrieval tasks in the manner of Long Range Arena: do two documents, each a byte sequence, belong together?"""

import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import Pool, TextShape
from robustbench_wb.source import code_digest
from robustbench_wb.tasks.dataset_source import locate_dataset
from robustbench_wb.tasks.read_splits import read_splits, require_column
from robustbench_wb.tasks.split_cache import load_or_make_splits
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.task_tokenizer import Encoding, encode, train_tokenizer

CLASSES = ("apart", "together")
_VALIDATION = 0.1
_AAN = "aan"
_AAN_FILE = "new_aan_pairs.{}.tsv"


def pair_rows(first: list[str], second: list[str], length: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Encode pairs of texts as ``[CLS] bytes [SEP]``, each cut and padded to ``length`` tokens.

    Returns:
        Token ids, int32 (N, 2 length), and the uncut token count of the longer text of each pair, int32 (N,).
    """
    tokenizer = train_tokenizer((), Encoding(kind="bytes", length=length))
    (left, sizes), (right, others) = encode(tokenizer, first, length), encode(tokenizer, second, length)
    return np.concatenate([left, right], axis=1), np.maximum(sizes, others)


class ReviewPairsTask:
    """Pairs of halves of film reviews, from the same review or from two reviews; both labels are equally frequent.

    Every review gives one pair: its first half, with its own second half or that of another review of the split. Halves
    end at word boundaries. This task replaces the papers used by Tay et al. 2021, which may not be redistributed.
    """

    def __init__(self, name: str, length: int) -> None:
        self.name, self.length = name, length

    def load(self, data_dir: str | None) -> Dataset:
        """Load the reviews of ``imdb`` and pair their halves; the last tenth of the training pairs is held out."""
        source = locate_dataset("stanfordnlp/imdb", data_dir)

        def make() -> dict[str, Split]:
            rows, names = read_splits(source), ("train", "test")
            if not set(names) <= rows.keys():
                raise DataError(f"{self.name} has splits {sorted(rows)}; a task needs 'train' and 'test'")
            for name in names:
                require_column(rows[name], "text", self.name)
            return {name: self._split([str(text) for text in rows[name]["text"]]) for name in names}

        key = {"code": code_digest(__name__), "source": source.digest, "length": self.length}
        splits = load_or_make_splits(key, name=self.name, verb="encode", make=make)
        train, test = splits["train"], splits["test"]
        rest = round(len(train) * (1 - _VALIDATION))
        return _dataset(
            name=self.name,
            length=self.length,
            pool="mean",
            train=train.select_rows(slice(rest)),
            test=test,
            validation=train.select_rows(slice(rest, None)),
        )

    def _split(self, texts: list[str]) -> Split:
        order = np.random.RandomState(0).permutation(len(texts))
        cuts = [text.find(" ", len(text) // 2) for text in texts]
        halves = [
            (text[:cut], text[cut + 1 :]) if cut > 0 else (text, "") for text, cut in zip(texts, cuts, strict=True)
        ]
        labels = np.arange(len(texts), dtype=np.int64) % 2
        # Pairs with label 0 take the second half of the next such pair, so that every half is used once.
        apart = order[labels == 0]
        partner = dict(zip(apart.tolist(), np.roll(apart, 1).tolist(), strict=True))
        second = [halves[partner.get(row, row)][1] for row in order.tolist()]
        inputs, sizes = pair_rows([halves[row][0] for row in order.tolist()], second, self.length)
        return Split(inputs=inputs, labels=labels, token_counts=sizes)


class PublishedPairsTask:
    """Pairs of papers of the ACL Anthology Network (Radev et al. 2013): does one cite the other? As in Tay et al. 2021.

    The data are the files ``aan/new_aan_pairs.{train,eval,test}.tsv`` of the mirror: label, two ids, two texts.
    """

    name, length = "lra-retrieval", 4000

    def load(self, data_dir: str | None) -> Dataset:
        """Read and encode the three files.

        Raises:
            DataError: a file is missing, or a line does not have a label, two ids and two texts.
        """
        train, validation, test = (self._read(data_dir, part) for part in ("train", "eval", "test"))
        return _dataset(name=self.name, length=self.length, pool="cls", train=train, test=test, validation=validation)

    def _read(self, data_dir: str | None, part: str) -> Split:
        path = Path(data_dir or os.environ.get("RBWB_DATA_DIR") or ".") / _AAN / _AAN_FILE.format(part)
        if not path.is_file():
            raise DataError(
                f"{self.name} needs {_AAN}/{_AAN_FILE.format(part)} in the folder of data_dir: the texts cannot be "
                "redistributed; the task retrieval has pairs of another corpus",
                "data_dir",
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
        return Split(inputs=inputs, labels=np.array(labels, np.int64), token_counts=sizes)


def _dataset(name: str, length: int, pool: Pool, train: Split, test: Split, validation: Split) -> Dataset:
    vocabulary = train_tokenizer((), Encoding(kind="bytes", length=length)).get_vocab_size()
    shape = TextShape(vocabulary=vocabulary, length=length, classes=len(CLASSES), pool=pool, documents=2)
    return Dataset(
        label=name,
        classes=CLASSES,
        train=train,
        test=test,
        shape=shape,
        validation=validation,
        shortcuts=("majority", "bag-of-tokens", "bag-overlap"),
    )


RETRIEVAL = ReviewPairsTask("retrieval", 4096)
RETRIEVAL_1K = ReviewPairsTask("retrieval-1k", 512)
LRA_RETRIEVAL = PublishedPairsTask()
