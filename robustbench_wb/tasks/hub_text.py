"""Text tasks from the hub or from a local mirror in hub layout."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import Pool
from robustbench_wb.spec import Spec, digest
from robustbench_wb.tasks.source import locate
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.tasks.text import Corpus, encoded_dataset
from robustbench_wb.tasks.vocabulary import Encoding


class TextFacts(Spec):
    """Facts about a named text task that its files do not say."""

    name: str
    summary: str
    source: str
    """Hub id."""
    config: str | None = None
    text: str = "text"
    """The column of texts; labels are in ``label``."""
    encoding: Encoding
    language: bool = False
    """Predict next tokens, instead of the label."""
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training texts kept for validation."""
    pool: Pool | None = None
    """What a classifier looks at; None: whatever the variant does."""
    room: int = Field(default=0, ge=0)
    """Most tokens that a model must take, where those are more than a training text has."""
    shortcuts: tuple[str, ...] = ()
    """Baselines that stand beside every score."""
    substitute: str | None = None
    """Hub id whose training texts are taken, and named in the label, when the source comes without any."""


class TextTask:
    """A dataset with one text column and, for classification, one class-label column; splits ``train`` and ``test``
    (or ``validation``)."""

    def __init__(self, facts: TextFacts) -> None:
        self.facts = facts
        self.name = facts.name

    def load(self, data_dir: str | None) -> Dataset:
        """Load from ``data_dir/OWNER/NAME`` or ``data_dir/NAME`` if there, else from the hub (or its local cache)."""
        facts = self.facts
        source = locate(facts.source, data_dir, facts.config)
        label, identity = self.name, source.digest
        substitute = None
        if facts.substitute is not None and "train" not in source.splits():
            substitute = locate(facts.substitute, data_dir)
            label = f"{self.name}-on-{facts.substitute.split('/')[-1]}"
            identity = digest([source.digest, substitute.digest])

        def read() -> Corpus:
            splits = source.open()
            train = splits if substitute is None else substitute.open()
            test = next((name for name in ("test", "validation") if name in splits), None)
            if "train" not in train or test is None:
                names = sorted(splits)
                raise DataError(f"{self.name} has splits {names}; a task needs 'train' and 'test' (or 'validation')")
            classes = () if facts.language else tuple(_feature(train["train"], "label", self.name).names)
            corpus = Corpus(classes, *(self._rows(rows, len(classes)) for rows in (train["train"], splits[test])))
            return corpus.hold_out(facts.held_out) if facts.held_out else corpus

        identity = digest([identity, facts.held_out]) if facts.held_out else identity
        dataset = encoded_dataset(label, identity, read, facts.encoding, facts.language)
        asked = {"pool": facts.pool, "length": max(facts.room, facts.encoding.length)}
        return replace(dataset, shape=dataset.shape.model_copy(update=asked), shortcuts=facts.shortcuts)

    def _rows(self, rows: Any, classes: int) -> tuple[list[str], NDArray[np.int64]]:
        column = self.facts.text if self.facts.text in rows.column_names else "text"
        _feature(rows, column, self.name)
        texts = [str(text or "") for text in rows[column]]
        if self.facts.language:
            return [text for text in texts if text.strip()], np.zeros(0, np.int64)
        labels = np.array(rows["label"], np.int64)
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
            raise DataError(f"{self.name}: a split is empty or holds rows without a valid label, so it cannot be used")
        return texts, labels


def _feature(rows: Any, column: str, name: str) -> Any:
    if column not in rows.column_names:
        raise DataError(f"{name} has columns {rows.column_names}; a task needs {column!r}")
    return rows.features[column]


def _words(vocabulary: int, length: int) -> Encoding:
    return Encoding(kind="bpe", vocabulary=vocabulary, length=length)


SST2 = TextTask(
    TextFacts(
        name="sst2",
        summary="film review phrases, positive or negative",
        source="stanfordnlp/sst2",
        text="sentence",
        encoding=_words(8_000, 64),
    )
)
AG_NEWS = TextTask(
    TextFacts(name="ag_news", summary="news in four topics", source="fancyzhx/ag_news", encoding=_words(16_000, 96))
)
IMDB = TextTask(
    TextFacts(
        name="imdb",
        summary="whole film reviews, positive or negative",
        source="stanfordnlp/imdb",
        encoding=_words(16_000, 256),
    )
)
IMDB_BYTES = TextTask(
    IMDB.facts.model_copy(
        update={
            "name": "imdb-bytes",
            "summary": "film reviews byte by byte",
            "encoding": Encoding(kind="bytes", length=1024),
        }
    )
)
IMDB_LM = TextTask(
    IMDB.facts.model_copy(
        update={
            "name": "imdb-lm",
            "summary": "film reviews, next token",
            "encoding": _words(8_000, 128),
            "language": True,
        }
    )
)
WIKITEXT = TextTask(
    TextFacts(
        name="wikitext",
        summary="WikiText-2, next token",
        source="Salesforce/wikitext",
        config="wikitext-2-v1",
        encoding=_words(8_000, 128),
        language=True,
        substitute="stanfordnlp/imdb",
    )
)


def _reviews_as_bytes(name: str, length: int, room: int) -> TextTask:
    """Film reviews byte by byte with a validation split, as a long sequence: the mean over what is no padding counts.

    Tay et al. 2021 (arXiv 2011.04006) validate on the test split; ``lra-text`` is theirs.
    """
    facts = {
        "name": name,
        "summary": "film reviews byte by byte",
        "encoding": Encoding(kind="bytes", length=length),
        "held_out": 0.1,
        "pool": "mean",
        "room": room,
        "shortcuts": ("majority", "bag-of-tokens"),
    }
    return TextTask(IMDB.facts.model_copy(update=facts))


TEXT_BYTES = _reviews_as_bytes("text-bytes", 4096, 8192)
TEXT_BYTES_1K = _reviews_as_bytes("text-bytes-1k", 1024, 4096)
TEXT_BYTES_256 = _reviews_as_bytes("text-bytes-256", 256, 1024)
LRA_TEXT = TextTask(
    TEXT_BYTES.facts.model_copy(
        update={
            "name": "lra-text",
            "encoding": Encoding(kind="bytes", length=4000),
            "held_out": 0.0,
            "pool": "cls",
            "room": 0,
        }
    )
)
