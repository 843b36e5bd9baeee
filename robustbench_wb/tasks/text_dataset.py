"""Tokenized datasets for text classification and language modelling, cached after the first use.

The tokenizer is trained on the training texts. The address of the cached arrays is a digest of the source, the encoding
and the release of the tokenizer library.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.array_cache import load_or_make_arrays, write_array, write_json
from robustbench_wb.tasks.short_words import with_short_words
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.task_tokenizer import Encoding, TaskTokenizer, encode, train_tokenizer
from robustbench_wb.tasks.token_stream import write_token_stream

_FORMAT = 2  # version of the encoded cache; raise it when encoding changes
_Texts = tuple[Sequence[str], NDArray[np.int64]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Corpus:
    """Texts and labels of all splits, before tokenization. Each split is a sequence of texts and labels int64 (N,)."""

    classes: tuple[str, ...]
    """Names of the classes; unused in language modelling."""
    train: _Texts
    test: _Texts
    validation: _Texts | None = None

    def hold_out(self, share: float) -> "Corpus":
        """Return a copy with a share of the training texts, drawn by a fixed permutation, as the validation split."""
        texts, labels = self.train
        # numpy guarantees the streams of RandomState across releases.
        order = np.random.RandomState(0).permutation(len(texts))
        rest = len(texts) - round(share * len(texts))
        rows = [np.sort(part) for part in (order[:rest], order[rest:])]
        train, validation = (([texts[row] for row in part.tolist()], labels[part]) for part in rows)
        return replace(self, train=train, validation=validation)


def encoded_dataset(
    label: str, source_digest: str, read: Callable[[], Corpus], encoding: Encoding, language: bool
) -> Dataset:
    """Tokenized dataset of a corpus, read from the cache or tokenized now.

    Args:
        label: name of the data.
        source_digest: digest of the corpus.
        read: returns the corpus; called only if the cache has no complete copy.
        encoding: conversion of texts to token ids.
        language: whether the task is language modelling, where all texts become one stream, cut into samples.

    Raises:
        DataError: the corpus is too small or unsuitable for the task.
    """
    key = {"format": _FORMAT, "source": source_digest, "encoding": encoding, "language": language}
    classes, tokenizer, ids, splits = load_or_make_arrays(
        {**key, "tokenizers": version("tokenizers")},
        name=label,
        verb="encode",
        fill=lambda folder: _encode_into(folder, read(), encoding=encoding, language=language, label=label),
        read=_read,
    )
    answers = ids if language else len(classes)
    shape = TextShape(vocabulary=ids, length=encoding.length, classes=answers, causal=language)
    return Dataset(
        label=label,
        classes=classes,
        train=splits["train"],
        test=splits["test"],
        shape=shape,
        tokenizer=tokenizer,
        validation=splits.get("validation"),
    )


class _Card(TypedDict):
    """Card of tokenized splits: names of the classes, the serialised tokenizer, and names of the splits."""

    classes: Sequence[str]
    tokenizer: str
    splits: list[str]


def _encode_into(folder: Path, corpus: Corpus, encoding: Encoding, language: bool, label: str) -> _Card:
    """Tokenize all splits into ``folder`` and return the card."""
    tokenizer = train_tokenizer(list(with_short_words(corpus.train[0])), encoding)
    splits = {"train": corpus.train, "test": corpus.test, "validation": corpus.validation}
    parts = {name: part for name, part in splits.items() if part is not None}
    for name, (texts, labels) in parts.items():
        place = folder / f"{name}-tokens.npy"
        if language:
            count = write_token_stream(place, texts, tokenizer=tokenizer, length=encoding.length)
            texts, labels, sizes = (), np.zeros(count, np.int64), np.zeros(0, np.int32)
        else:
            tokens, sizes = encode(tokenizer, texts, encoding.length)
            write_array(place, tokens)
            count = len(tokens)
        if count == 0:
            raise DataError(f"{label}: split {name!r} has fewer than {encoding.length} tokens")
        write_array(folder / f"{name}-sizes.npy", sizes)
        write_array(folder / f"{name}-labels.npy", labels)
        write_json(folder / f"{name}-texts.json", list(texts))
    return {"classes": corpus.classes, "tokenizer": tokenizer.to_str(), "splits": list(parts)}


def _read(folder: Path, card: _Card) -> tuple[tuple[str, ...], TaskTokenizer, int, dict[str, Split]]:
    """Read the classes, the tokenizer, its number of ids, and the splits by name."""
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
    return Split(inputs=tokens, labels=labels, texts=texts, token_counts=sizes if len(sizes) else None)
