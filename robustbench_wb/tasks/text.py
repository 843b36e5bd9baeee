"""Text tasks: classification and language modelling, tokenized once and kept in the cache.

The tokenizer is learnt from the training texts. The encoded arrays are addressed by the bytes of the source, the
encoding and the release of the tokenizer library.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.kept import kept, write_array, write_json
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.vocabulary import Encoding, TaskTokenizer, encode, encode_stream, train_tokenizer

_FORMAT = 2  # of the encoded cache; raise it when encoding changes
_Texts = tuple[list[str], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts and labels as they are, before any tokenizer."""

    classes: tuple[str, ...]
    """Empty for language modelling."""
    train: _Texts
    test: _Texts
    validation: _Texts | None = None

    def hold_out(self, share: float) -> "Corpus":
        """The same with a share of the training texts for validation: those at the end of a fixed random order."""
        texts, labels = self.train
        # RandomState is numpy's frozen generator: its streams never change between releases.
        order = np.random.RandomState(0).permutation(len(texts))
        rest = len(texts) - round(share * len(texts))
        rows = [np.sort(part) for part in (order[:rest], order[rest:])]
        train, validation = (([texts[row] for row in part.tolist()], labels[part]) for part in rows)
        return replace(self, train=train, validation=validation)


def encoded_dataset(
    label: str, source_digest: str, read: Callable[[], Corpus], encoding: Encoding, language: bool
) -> Dataset:
    """The tokenized dataset of a corpus; read and tokenized now if a whole copy is not in the cache yet.

    Args:
        label: name of the data.
        source_digest: identifies the bytes of the corpus.
        read: gives the corpus; called only when needed.
        encoding: how texts become ids.
        language: whether the task is to predict next tokens: the texts then become one stream, cut into samples.

    Raises:
        DataError: the corpus is too small, or not what the task needs.
    """
    key = {"format": _FORMAT, "source": source_digest, "encoding": encoding, "language": language}
    classes, tokenizer, ids, splits = kept(
        {**key, "tokenizers": version("tokenizers")},
        label,
        "encode",
        lambda folder: _encode_into(folder, read(), encoding, language, label),
        _read,
    )
    answers = ids if language else len(classes)
    shape = TextShape(vocabulary=ids, length=encoding.length, classes=answers, causal=language)
    return Dataset(label, classes, splits["train"], splits["test"], shape, tokenizer, splits.get("validation"))


def _encode_into(folder: Path, corpus: Corpus, encoding: Encoding, language: bool, label: str) -> dict[str, object]:
    """Encode both splits; gives the card."""
    tokenizer = train_tokenizer(corpus.train[0], encoding)
    splits = {"train": corpus.train, "test": corpus.test, "validation": corpus.validation}
    parts = {name: part for name, part in splits.items() if part is not None}
    for name, (texts, labels) in parts.items():
        if language:
            tokens, sizes = encode_stream(tokenizer, texts, encoding.length), np.zeros(0, np.int32)
        else:
            tokens, sizes = encode(tokenizer, texts, encoding.length)
        if len(tokens) == 0:
            raise DataError(f"{label}: split {name!r} has no {encoding.length} tokens")
        write_array(folder / f"{name}-tokens.npy", tokens)
        write_array(folder / f"{name}-sizes.npy", sizes)
        write_array(folder / f"{name}-labels.npy", np.zeros(len(tokens), np.int64) if language else labels)
        write_json(folder / f"{name}-texts.json", [] if language else texts)
    return {"classes": corpus.classes, "tokenizer": tokenizer.to_str(), "splits": list(parts)}


def _read(folder: Path, card: dict[str, Any]) -> tuple[tuple[str, ...], TaskTokenizer, int, dict[str, Split]]:
    """Classes, tokenizer, ids in its vocabulary, and the splits by name."""
    tokenizer = TaskTokenizer(str(card["tokenizer"]))
    splits = {name: _read_split(folder, name) for name in card["splits"]}
    return tuple(card["classes"]), tokenizer, tokenizer.vocabulary, splits


def _read_split(folder: Path, name: str) -> Split:
    tokens = np.load(folder / f"{name}-tokens.npy", mmap_mode="r")
    labels = np.load(folder / f"{name}-labels.npy")
    sizes = np.load(folder / f"{name}-sizes.npy")
    texts = json.loads((folder / f"{name}-texts.json").read_text(encoding="utf-8"))
    if tokens.ndim != 2 or len(tokens) != len(labels) or len(texts) not in (0, len(labels)):
        raise ValueError(f"{name} has tokens {tokens.shape}, labels {labels.shape} and {len(texts)} texts")
    return Split(tokens, labels, texts, sizes if len(sizes) else None)
