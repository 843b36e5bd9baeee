"""Task ``texts:PATH``: texts with labels in a CSV, JSON or parquet file, or in a folder of such files."""

import csv
import hashlib
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robustbench_wb.errors import DataError, UsageError, first_line
from robustbench_wb.spec import digest
from robustbench_wb.tasks.catalogue import TEXTS
from robustbench_wb.tasks.class_labels import unify_labels
from robustbench_wb.tasks.evaluation_dataset import EvaluationDataset
from robustbench_wb.tasks.mirror import walk_files
from robustbench_wb.tasks.pictures.listing import LABEL_COLUMNS, SPLITS
from robustbench_wb.tasks.pictures.task_options import parse_options
from robustbench_wb.tasks.read_splits import silent_library
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.tasks.task_tokenizer import Encoding
from robustbench_wb.tasks.text_dataset import Corpus, encoded_dataset
from robustbench_wb.text_files import is_file, is_folder

if TYPE_CHECKING:
    from datasets import DatasetDict

_OPTIONS: Final = ("text", "label", "length", "split")
_TEXT_COLUMNS: Final = ("text", "sentence", "content", "review")
_LOADERS: Final[Mapping[str, str]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
}
"""Loader of the package ``datasets`` by the ending of a file's name, in small letters."""
_VOCABULARY: Final = 8_000
_LENGTH: Final = 128
_FORMAT: Final = 1  # of the reading of files; raise it when it changes
_log = logging.getLogger(__name__)


class TextFilesTask:
    """Text classification of files with a column of texts and a column of labels.

    A single file is evaluated as it is. The files of a folder are splits if their names, or the names of their folders,
    begin with ``train``, ``val`` or ``test``; without any such name all of them are evaluated. Options follow the path:
    ``;text=COLUMN``, ``;label=COLUMN``, ``;length=128`` (tokens of the task's own tokenizer) and ``;split=NAME``.

    Raises:
        UsageError: the path does not exist, or an option is wrong.
    """

    suite = "adversarial-text"
    """Suite of a request that names none."""
    like = "ag_news"
    """Registered task whose training recipes fit."""

    def __init__(self, name: str) -> None:
        place, self._options = parse_options(name, _OPTIONS)
        self.name, self.path = name, Path(place.removeprefix(TEXTS)).expanduser()
        if not place.removeprefix(TEXTS) or not (is_file(self.path) or is_folder(self.path)):
            raise UsageError(f"task {name!r}: {self.path} does not exist", "tasks")
        length = self._options.get("length", str(_LENGTH))
        if not length.isdecimal() or not 2 <= int(length) <= 1 << 16:
            raise UsageError(f"task {name!r}: length is a number of tokens from 2 to 65536, not {length}", "tasks")
        self._encoding = Encoding(kind="bpe", vocabulary=_VOCABULARY, length=int(length))

    def load(self, data_dir: str | None) -> Dataset:
        """Read and tokenize the files, or take them from the cache. Without training texts nothing can be trained.

        The tokenizer of the task is trained on the training texts, else on the evaluated ones.

        Raises:
            DataError: there is no such file, a column is missing, or a row has no label.
        """
        files = self._files()
        evaluated = self._evaluated(files)
        used = {split: files[split] for split in dict.fromkeys(("train", evaluated)) if split in files}
        content = {split: [_sha256(path) for path in paths] for split, paths in used.items()}
        first = next(iter(used))
        dataset = encoded_dataset(
            (self.path.resolve().stem or "texts") + (f";split={evaluated}" if "split" in self._options else ""),
            source_digest=digest([_FORMAT, content, self._options]),
            read=lambda: self._corpus(used, evaluated),
            encoding=self._encoding,
            language=False,
        )
        train = dataset.train if first == "train" and evaluated != "train" else dataset.test.select_rows(slice(0))
        return EvaluationDataset(
            label=dataset.label,
            classes=dataset.classes,
            train=train,
            test=dataset.test,
            shape=dataset.shape,
            tokenizer=dataset.tokenizer,
        )

    def _files(self) -> dict[str, list[Path]]:
        """Files of each split, by ``train``, ``validation`` or ``test``.

        Raises:
            DataError: there are no files, or only some are named like splits.
        """
        if is_file(self.path):
            if self.path.suffix.lower() not in _LOADERS:
                raise DataError(f"{self.path} is none of {', '.join(_LOADERS)}")
            return {"test": [self.path]}
        inside = [path for path in walk_files(self.path, hidden=False) if path.suffix.lower() in _LOADERS]
        if not inside:
            raise DataError(f"{self.path} has no files of texts ({', '.join(_LOADERS)})")
        found: dict[str, list[Path]] = {}
        for path in inside:
            found.setdefault(_split_of(path.relative_to(self.path)), []).append(path)
        if list(found) == [""]:
            return {"test": found[""]}
        if "" in found:
            raise DataError(f"{found[''][0]} belongs to no split; let its name begin with train, val or test")
        return found

    def _evaluated(self, files: Mapping[str, Sequence[Path]]) -> str:
        wanted = self._options.get("split")
        names = ("test", "validation") if wanted is None else (SPLITS.get(wanted.lower(), wanted),)
        split = next((name for name in names if name in files), None)
        if split is None:
            raise DataError(f"{self.path} has the splits {', '.join(files)}, and no {wanted or 'test or val'!r}")
        return split

    def _corpus(self, files: Mapping[str, Sequence[Path]], evaluated: str) -> Corpus:
        import datasets

        rows = _read(files, str(self.path))
        where = str(self.path)
        columns = next(iter(rows.values())).column_names
        text = self._column("text", _TEXT_COLUMNS, columns)
        label = self._column("label", LABEL_COLUMNS, columns)
        for split, part in rows.items():
            empty = sum(one == "" for one in part[label])
            if not isinstance(part.features[text], datasets.Value):
                raise DataError(f"{where}, {split}: column {text!r} holds no texts but {part.features[text]}")
            if empty:
                raise DataError(f"{where}, {split} has rows without a label ({empty}); remove them or write it")
        found = unify_labels({str(split): part for split, part in rows.items()}, label, name=where, files={})
        if len(found.classes) < 2:
            raise DataError(f"{where} has one class only, {found.classes[0]}; a task needs two")
        for note in found.notes:
            _log.warning("%s", note)
        parts = {split: ([str(one or "") for one in rows[split][text]], found.labels[split]) for split in files}
        return Corpus(classes=found.classes, train=parts[next(iter(parts))], test=parts[evaluated])

    def _column(self, option: str, usual: Sequence[str], columns: Sequence[str]) -> str:
        """Name of a column: that of the option, or the first usual one.

        Raises:
            DataError: there is none.
        """
        wanted = self._options.get(option)
        found = next((name for name in ((wanted,) if wanted else usual) if name in columns), None)
        if found is None:
            shown = ", ".join(map(str, columns))
            raise DataError(f"{self.path} has the columns {shown}; name the one of the {option} with ;{option}=COLUMN")
        return found


def _split_of(path: Path) -> str:
    """Split that the beginning of a file's name, or of one of its folders' names, means; empty if there is none."""
    for part in reversed((*path.parts[:-1], path.stem)):
        word = part.lower().replace("_", "-").replace(".", "-").partition("-")[0]
        if word in SPLITS:
            return SPLITS[word]
    return ""


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"data file {path} cannot be read: {error.strerror}") from error


def _check_fields(path: Path, separator: str) -> None:
    """Refuse rows with more fields than the first line has names: the reader would take their first fields as an index.

    What is no CSV or no UTF-8 is left to the reader.

    Raises:
        DataError: a row has more fields.
    """
    longest = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=separator)
            names = next(rows, [])
            for row in rows:
                if len(row) > len(names):
                    told = f"{path}, line {rows.line_num}: {len(row)} fields under {len(names)} names"
                    raise DataError(f"{told}; put quotes around a text with separators")
    except (csv.Error, OSError, UnicodeDecodeError):
        return
    finally:
        csv.field_size_limit(longest)


def _read(files: Mapping[str, Sequence[Path]], where: str) -> "DatasetDict":
    """Rows of each split. Words such as NA and null are text, and no missing values.

    Raises:
        DataError: the files are of several formats, or cannot be read.
    """
    import datasets

    endings = sorted({path.suffix.lower() for paths in files.values() for path in paths})
    loaders = {_LOADERS[ending] for ending in endings}
    if len(loaders) > 1 or (".tsv" in endings and len(endings) > 1):
        raise DataError(f"{where} has files of several formats ({', '.join(endings)}); keep one of them")
    loader = loaders.pop()
    options: dict[str, object] = {}
    if loader == "csv":
        separator = "\t" if endings == [".tsv"] else ","
        options = {"keep_default_na": False, "sep": separator}
        for path in chain.from_iterable(files.values()):
            _check_fields(path, separator)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with silent_library():
                return datasets.load_dataset(
                    loader,
                    data_files={split: list(map(str, paths)) for split, paths in files.items()},
                    cache_dir=scratch,
                    keep_in_memory=True,
                    **options,
                )
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            # The message "An error occurred while generating the dataset" gives its reason in the cause.
            raise DataError(f"the texts in {where} cannot be read: {first_line(error.__cause__ or error)}") from error
