"""Text tasks: classification and language modelling, tokenized once and kept in the cache.

The tokenizer is learnt from the training texts. The encoded arrays are addressed by the bytes of the source, the
encoding and the release of the tokenizer library.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.models.shape import TextShape
from robustbench_wb.spec import digest
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.vocabulary import Encoding, encode, encode_stream, train_tokenizer

_FORMAT = 1  # of the encoded cache; raise it when encoding changes
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts and labels as they are, before any tokenizer."""

    classes: tuple[str, ...]
    """Empty for language modelling."""
    train: tuple[list[str], NDArray[np.int64]]
    test: tuple[list[str], NDArray[np.int64]]


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
    folder = cache_folder("datasets") / digest({**key, "tokenizers": version("tokenizers")})[:32]
    found = _read(folder, label, encoding, language)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        _encode_into(folder, read(), encoding, language, label)
        found = _read(folder, label, encoding, language)
    if found is None:
        raise DataError(f"{label}: the encoded copy in {folder} cannot be read right after it was written")
    return found


def _encode_into(folder: Path, corpus: Corpus, encoding: Encoding, language: bool, label: str) -> None:
    """Encode both splits; the card is written last and is what makes the folder complete."""
    tokenizer = train_tokenizer(corpus.train[0], encoding)
    for name, (texts, labels) in (("train", corpus.train), ("test", corpus.test)):
        tokens = (encode_stream if language else encode)(tokenizer, texts, encoding.length)
        if len(tokens) == 0:
            raise DataError(f"{label}: split {name!r} has no {encoding.length} tokens")
        kept = np.zeros(len(tokens), np.int64) if language else labels
        _write(folder / f"{name}-tokens.npy", tokens)
        _write(folder / f"{name}-labels.npy", kept)
        _write_json(folder / f"{name}-texts.json", [] if language else texts)
    _write_json(folder / "card.json", {"classes": corpus.classes, "tokenizer": tokenizer.to_str()})


def _write(path: Path, array: NDArray[Any]) -> None:
    write_atomic(path, lambda temporary: np.save(temporary, array))


def _write_json(path: Path, content: object) -> None:
    write_atomic(path, lambda temporary: temporary.write_text(json.dumps(content), encoding="utf-8"))


def _read(folder: Path, label: str, encoding: Encoding, language: bool) -> Dataset | None:
    """A whole encoded copy; None when it is absent, unfinished or damaged."""
    if not (folder / "card.json").is_file():
        return None
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        train, test = (_read_split(folder, name) for name in ("train", "test"))
        classes, tokenizer = tuple(card["classes"]), str(card["tokenizer"])
        ids = _vocabulary(json.loads(tokenizer))
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        _log.warning("the encoded copy in %s is damaged (%s); encoding again", folder, error)
        return None
    shape = TextShape(
        vocabulary=ids, length=encoding.length, classes=ids if language else len(classes), causal=language
    )
    return Dataset(label, classes, train, test, shape, tokenizer)


def _vocabulary(tokenizer: dict[str, Any]) -> int:
    ids: dict[str, int] = tokenizer["model"]["vocab"]
    return 1 + max(ids.values())


def _read_split(folder: Path, name: str) -> Split:
    tokens = np.load(folder / f"{name}-tokens.npy", mmap_mode="r")
    labels = np.load(folder / f"{name}-labels.npy")
    texts = json.loads((folder / f"{name}-texts.json").read_text(encoding="utf-8"))
    if tokens.ndim != 2 or len(tokens) != len(labels) or len(texts) not in (0, len(labels)):
        raise ValueError(f"{name} has tokens {tokens.shape}, labels {labels.shape} and {len(texts)} texts")
    return Split(tokens, labels, texts)
