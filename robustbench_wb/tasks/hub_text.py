"""Text tasks from the hub or from a local mirror in hub layout."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import Pool
from robustbench_wb.spec import Spec, digest
from robustbench_wb.tasks.class_labels import Labels, unify_labels
from robustbench_wb.tasks.column_texts import ColumnTexts
from robustbench_wb.tasks.dataset_source import locate_dataset
from robustbench_wb.tasks.mirror import class_names_of_files, followed_mirror, mirror_folder
from robustbench_wb.tasks.read_splits import read_splits, require_column
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.tasks.task_tokenizer import Encoding
from robustbench_wb.tasks.text_dataset import Corpus, encoded_dataset

if TYPE_CHECKING:
    from datasets import Dataset as HubRows


_log = logging.getLogger(__name__)
_LABELS = 2  # version of the reading of labels; raise it when labels change


class TextFacts(Spec):
    """Facts about a text task that its files do not contain."""

    name: str
    summary: str
    source: str
    """Hub id of the dataset."""
    config: str | None = None
    """Configuration of the dataset; None if it has only one."""
    config_folder: bool = False
    """Whether a mirror must have a folder for the configuration: files of the dataset without one may be of another."""
    text: str = "text"
    """Name of the text column; the label column is ``label``."""
    encoding: Encoding
    language_modelling: bool = False
    """Whether the task is to predict the next token instead of a label."""
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training texts held out for validation."""
    pool: Pool | None = None
    """Pooling before the classifier: the class token or the mean; None leaves it to the variant."""
    longest_input: int = Field(default=0, ge=0)
    """Longest input in tokens that a model must accept, where it exceeds the length of training texts."""
    shortcuts: tuple[str, ...] = ()
    """Names of the shortcut baselines evaluated on the task (``robustbench_wb.training.shortcuts``)."""
    substitute: str | None = None
    """Hub id of a dataset that provides training texts if the source has none; the task label then names it."""
    like: str | None = None
    """Task whose recipes and lists of strengths apply; None: they are looked up under the task's own name."""


class TextTask:
    """Text task of a dataset with one text column, for classification also a class-label column ``label``.

    The splits are ``train`` and ``test``; ``validation`` serves as the test split where ``test`` is missing.
    """

    def __init__(self, facts: TextFacts) -> None:
        self.facts = facts
        self.name, self.like = facts.name, facts.like or facts.name

    def load(self, data_dir: str | None) -> Dataset:
        """Load from a folder of ``data_dir`` if it exists, else from the hub or its local cache.

        The folder is ``OWNER/NAME`` or ``NAME``, with a configuration ``OWNER/NAME/CONFIG``, ``NAME/CONFIG`` or
        ``CONFIG``.

        Raises:
            DataError: the data cannot be reached or read, or do not suit the task.
        """
        facts = _in_mirror(self.facts, data_dir or os.environ.get("RBWB_DATA_DIR"))
        with followed_mirror(facts.source, data_dir, facts.config) as mirror:
            return TextTask(facts)._load(mirror)

    def _load(self, data_dir: str | None) -> Dataset:
        facts = self.facts
        source = locate_dataset(facts.source, data_dir, facts.config)
        label, split, identity = self.name, "", source.digest
        if facts.language_modelling and "test" not in source.splits():
            _log.warning("%s: there is no test split; the validation split is evaluated", self.name)
            split = ";split=validation"
        substitute = None
        if facts.substitute is not None and "train" not in source.splits():
            substitute = locate_dataset(facts.substitute, data_dir)
            label = f"{self.name}-on-{facts.substitute.split('/')[-1]}"
            identity = digest([source.digest, substitute.digest])

        def read() -> Corpus:
            splits = read_splits(source)
            train = splits if substitute is None else read_splits(substitute)
            test = next((name for name in ("test", "validation") if name in splits), None)
            if "train" not in train or test is None:
                names = sorted(splits)
                raise DataError(f"{self.name} has splits {names}; a task needs 'train' and 'test' (or 'validation')")
            parts = {"train": train["train"], test: splits[test]}
            texts = {split: self._texts(rows) for split, rows in parts.items()}
            labels = self._labels(parts, data_dir)
            corpus = Corpus(
                classes=labels.classes,
                train=(texts["train"], labels.labels["train"]),
                test=(texts[test], labels.labels[test]),
            )
            return corpus.hold_out(facts.held_out) if facts.held_out else corpus

        identity = digest([identity, facts.held_out]) if facts.held_out else identity
        identity = identity if facts.language_modelling else digest([identity, _LABELS])
        dataset = encoded_dataset(
            label + split, source_digest=identity, read=read, encoding=facts.encoding, language=facts.language_modelling
        )
        asked = {"pool": facts.pool, "length": max(facts.longest_input, facts.encoding.length)}
        return replace(dataset, shape=dataset.shape.model_copy(update=asked), shortcuts=facts.shortcuts)

    def _texts(self, rows: "HubRows") -> Sequence[str]:
        column = self.facts.text if self.facts.text in rows.column_names else "text"
        require_column(rows, column, self.name)
        if self.facts.language_modelling:
            return ColumnTexts(rows, column)
        return [str(text or "") for text in rows[column]]

    def _labels(self, parts: Mapping[str, "HubRows"], data_dir: str | None) -> Labels:
        """Labels of all splits; none in language modelling."""
        if self.facts.language_modelling:
            return Labels(classes=(), labels=dict.fromkeys(parts, np.zeros(0, np.int64)), notes=())
        for rows in parts.values():
            require_column(rows, "label", self.name)
        folder = mirror_folder(self.facts.source, data_dir, self.facts.config)
        files = {} if folder is None else class_names_of_files(folder, "label")
        found = unify_labels(parts, "label", name=self.name, files=files)
        for note in found.notes:
            _log.warning("%s", note)
        return found


def _in_mirror(facts: TextFacts, root: str | None) -> TextFacts:
    """Facts with the place of the configuration as their source, if the mirror ``root`` has a folder for it.

    Raises:
        DataError: the mirror has files of the dataset that are, or may be, of another configuration.
    """
    if facts.config is None:
        return facts
    apart = f"{facts.source}/{facts.config}"
    if mirror_folder(apart, root) is not None:
        return facts.model_copy(update={"source": apart, "config": None})
    other = mirror_folder(facts.source, root)
    if other is not None and (facts.config_folder or not any((*other.glob("*.*"), *other.glob("data/*.*")))):
        raise DataError(
            f"{other} has no folder {facts.config}, which task {facts.name!r} needs: its files may be of another one",
            "data_dir",
        )
    return facts


def _words(vocabulary: int, length: int) -> Encoding:
    return Encoding(kind="bpe", vocabulary=vocabulary, length=length)


SST2 = TextTask(
    TextFacts(
        name="sst2",
        summary="film review phrases, positive or negative",
        source="stanfordnlp/sst2",
        text="sentence",
        encoding=_words(vocabulary=8_000, length=64),
    )
)
AG_NEWS = TextTask(
    TextFacts(
        name="ag_news",
        summary="news in four topics",
        source="fancyzhx/ag_news",
        encoding=_words(vocabulary=16_000, length=96),
    )
)
IMDB = TextTask(
    TextFacts(
        name="imdb",
        summary="whole film reviews, positive or negative",
        source="stanfordnlp/imdb",
        encoding=_words(vocabulary=16_000, length=256),
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
            "encoding": _words(vocabulary=8_000, length=128),
            "language_modelling": True,
        }
    )
)
WIKITEXT = TextTask(
    TextFacts(
        name="wikitext",
        summary="WikiText-2, next token",
        source="Salesforce/wikitext",
        config="wikitext-2-v1",
        encoding=_words(vocabulary=8_000, length=128),
        language_modelling=True,
        substitute="stanfordnlp/imdb",
    )
)
WIKITEXT_103 = TextTask(
    WIKITEXT.facts.model_copy(
        update={
            "name": "wikitext-103",
            "summary": "WikiText-103, next token",
            "config": "wikitext-103-v1",
            "config_folder": True,
            "encoding": _words(vocabulary=8_000, length=256),
            "substitute": None,
            "like": "wikitext",
        }
    )
)


def _reviews_as_bytes(name: str, length: int, longest_input: int) -> TextTask:
    """Make a task of film reviews as byte sequences, with a validation split and mean pooling over unpadded tokens.

    Tay et al. 2021 (arXiv 2011.04006) validate on the test split and pool the class token; ``lra-text`` keeps that.
    """
    facts = {
        "name": name,
        "summary": "film reviews byte by byte",
        "encoding": Encoding(kind="bytes", length=length),
        "held_out": 0.1,
        "pool": "mean",
        "longest_input": longest_input,
        "shortcuts": ("majority", "bag-of-tokens"),
    }
    return TextTask(IMDB.facts.model_copy(update=facts))


TEXT_BYTES = _reviews_as_bytes("text-bytes", length=4096, longest_input=8192)
TEXT_BYTES_1K = _reviews_as_bytes("text-bytes-1k", length=1024, longest_input=4096)
TEXT_BYTES_256 = _reviews_as_bytes("text-bytes-256", length=256, longest_input=1024)
LRA_TEXT = TextTask(
    TEXT_BYTES.facts.model_copy(
        update={
            "name": "lra-text",
            "encoding": Encoding(kind="bytes", length=4000),
            "held_out": 0.0,
            "pool": "cls",
            "longest_input": 0,
        }
    )
)
