"""Labels that people bring: other orders of classes, plain integers, words; odd sizes and symlinked folders."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

from robustbench_wb.cli.app import run_cli
from robustbench_wb.errors import DataError
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.hub_text import SST2
from robustbench_wb.tasks.task import Dataset
from tests.tasks.hub_layout import Write, encode, noise, rows

CNN = """
from torch import nn

def make(shape):
    return nn.Sequential(nn.Conv2d(shape.channels, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                         nn.Linear(16, shape.classes))
"""


def images(labels: Sequence[Any], kind: Any) -> Any:
    """Split of random images with labels of any kind."""
    pictures = [encode(noise("L", number)) for number in range(len(labels))]
    part = rows(pictures, [0] * len(labels), ["a"]).remove_columns("label")
    return part.add_column("label", list(labels)).cast_column("label", kind)


def names(*classes: str) -> Any:
    return datasets.ClassLabel(names=list(classes))


def loaded(root: Path, task: str, split: Any, write: Write, **parts: Any) -> Dataset:
    """The dataset of image or text splits; ``split`` makes a split from labels and their kind."""
    write("a/toy" if task == "a/toy" else "sst2", **{name: split(*part) for name, part in parts.items()})
    return find_task(task).load(str(root))


def texts(labels: Sequence[Any], kind: Any) -> Any:
    """Split of texts with labels of any kind."""
    part = datasets.Dataset.from_dict({"sentence": [f"film {n}" for n in range(len(labels))], "label": list(labels)})
    return part.cast_column("label", kind)


BOTH = pytest.mark.parametrize(("task", "split"), [("a/toy", images), ("sst2", texts)], ids=["images", "texts"])
INTEGER, WORD = datasets.Value("int64"), datasets.Value("string")


@BOTH
@pytest.mark.parametrize(
    ("train", "test", "classes", "numbers", "note"),
    [
        (([0, 1, 0], names("no", "yes")), ([0, 0, 1], names("yes", "no")), ("no", "yes"), [1, 1, 0], "aligned by name"),
        (([0, 1, 0], names("no", "yes")), (["yes", "no"], WORD), ("no", "yes"), [1, 0], ""),
        (([0, 1, 2], names("a", "b", "c")), ([0, 1], names("c", "a")), ("a", "b", "c"), [2, 0], "aligned by name"),
        (([0, 1, 2, 0], INTEGER), ([2, 0], INTEGER), ("0", "1", "2"), [2, 0], "integers 0 to 2"),
        (([0.0, 1.0], datasets.Value("float64")), ([1.0], datasets.Value("float64")), ("0", "1"), [1], "0 to 1"),
        (([False, True], datasets.Value("bool")), ([True], datasets.Value("bool")), ("0", "1"), [1], "0 to 1"),
        ((["pos", "neg", "pos"], WORD), (["neg", "pos"], WORD), ("neg", "pos"), [0, 1], "sorted order: neg, pos"),
    ],
)
def test_labels_keep_their_meaning(
    task: str, split: Any, train: Any, test: Any, classes: tuple[str, ...], numbers: list[int], note: str,
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with caplog.at_level(logging.WARNING):
        data = loaded(tmp_path / "mirror", task, split, write, train=train, validation=test)
    assert data.classes == classes
    assert data.test.labels.tolist() == numbers
    assert (note in caplog.text) if note else not caplog.text


@pytest.mark.parametrize("form", ["struct", "bytes"])
def test_images_that_pandas_wrote_are_found(form: str, write: Write, tmp_path: Path) -> None:
    part = images([0, 1, 0, 1], INTEGER).to_pandas()
    if form == "bytes":
        part["image"] = [picture["bytes"] for picture in part["image"]]
    plain = datasets.Dataset.from_pandas(part)
    write("a/toy", train=plain, test=plain)
    found = find_task("a/toy").load(str(tmp_path / "mirror"))
    assert (found.test.inputs.shape, found.test.labels.tolist()) == ((4, 1, 8, 8), [0, 1, 0, 1])


@BOTH
@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (([0, 1], names("no", "yes")), ([0, 1], names("no", "maybe")), "has classes maybe; split 'train' lacks them"),
        (([1, 2], INTEGER), ([1], INTEGER), "split 'train' has the labels 1, 2; number the classes 0 to n - 1"),
        (([0, 1], INTEGER), ([2], INTEGER), "split 'validation' has the labels 2"),
        (([0, 0], INTEGER), ([0], INTEGER), "has the labels 0;"),
        (([0, 1], INTEGER), (["no", "yes"], WORD), "label in different ways"),
        ((["no", "yes"], WORD), (["maybe"], WORD), "has classes maybe"),
        ((["no", None], WORD), (["no"], WORD), "without a valid label"),
        (([0.5, 1.0], datasets.Value("float64")), ([1.0], datasets.Value("float64")), "fractions"),
        (([[0], [1]], datasets.Sequence(INTEGER)), ([[0]], datasets.Sequence(INTEGER)), "a label is a class"),
    ],
)
def test_labels_without_a_certain_meaning_are_refused_in_one_line(
    task: str, split: Any, train: Any, test: Any, words: str, write: Write, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        loaded(tmp_path / "mirror", task, split, write, train=train, validation=test)
    assert words in str(caught.value) or "cannot be read" in str(caught.value)


def test_each_file_of_a_split_is_read_by_its_own_names(write: Write) -> None:
    root = write("a/toy", train=images([0, 1], names("no", "yes")), test=images([0], names("no", "yes")))
    folder = root / "a" / "toy" / "data"
    (folder / "train-00000-of-00001.parquet").rename(folder / "train-00000-of-00002.parquet")
    images([0, 1, 1], names("yes", "no")).to_parquet(folder / "train-00001-of-00002.parquet")
    assert find_task("a/toy").load(str(root)).train.labels.tolist() == [0, 1, 1, 0, 0]


@pytest.mark.parametrize("layout", ["stream", "file"])
def test_arrow_files_are_read_by_their_own_names(layout: str, tmp_path: Path) -> None:
    import pyarrow as pa

    folder = tmp_path / "mirror" / "a" / "toy"
    folder.mkdir(parents=True)
    for name, part in (("train", images([0, 1], names("no", "yes"))), ("test", images([0, 0], names("yes", "no")))):
        table = part.with_format("arrow")[:]
        kind = pa.ipc.new_stream if layout == "stream" else pa.ipc.new_file
        with kind(str(folder / f"{name}-0.arrow"), part.data.schema) as writer:
            writer.write_table(table.cast(part.data.schema))
    data = find_task("a/toy").load(str(tmp_path / "mirror"))
    assert (data.classes, data.test.labels.tolist()) == (("no", "yes"), [1, 1])


@pytest.mark.parametrize("link", ["data", "dataset", "files", "loop"])
def test_symlinked_folders_and_files_are_the_same_dataset(link: str, write: Write, tmp_path: Path) -> None:
    part = images([0, 1, 0, 1], names("no", "yes"))
    real = write("a/toy", train=part, test=part) / "a" / "toy"
    linked = tmp_path / "links" / "a"
    linked.mkdir(parents=True)
    if link == "dataset":
        (linked / "toy").symlink_to(real)
    elif link == "files":
        (linked / "toy" / "data").mkdir(parents=True)
        for file in (real / "data").iterdir():
            (linked / "toy" / "data" / file.name).symlink_to(file)
    else:
        (linked / "toy").mkdir()
        (linked / "toy" / "data").symlink_to(real / "data")
        if link == "loop":
            (real / "data" / "again").symlink_to(real / "data")
    found = find_task("a/toy").load(str(linked.parent))
    assert found.digest == find_task("a/toy").load(str(tmp_path / "mirror")).digest
    assert found.classes == ("no", "yes")


def test_texts_in_a_symlinked_folder(write: Write, tmp_path: Path) -> None:
    part = texts([0, 1], names("no", "yes"))
    real = write("sst2", train=part, validation=part) / "sst2"
    (tmp_path / "links" / "sst2").mkdir(parents=True)
    (tmp_path / "links" / "sst2" / "data").symlink_to(real / "data")
    assert SST2.load(str(tmp_path / "links")).classes == ("no", "yes")


@pytest.mark.parametrize("size", [(29, 23), (23, 23)])
def test_patches_are_a_need_of_the_variants_alone(
    size: tuple[int, int], write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = rows([encode(noise("L", number, size)) for number in range(8)], [0, 1] * 4, ["no", "yes"])
    root = write("a/toy", train=part, test=part)
    (tmp_path / "cnn.py").write_text(CNN)
    common = ["run", "--suite", "clean", "--task", "a/toy", "--data-dir", str(root), "--results", str(tmp_path / "r")]
    assert run_cli([*common, "--variant", f"{tmp_path / 'cnn.py'}:make", "--recipe", "none"]) == 0
    capsys.readouterr()
    assert run_cli([*common, "--variant", "vit"]) == 2
    told = capsys.readouterr().err
    assert f"images of {size[1]}x{size[0]} cannot be cut into 2 to 64 square patches" in told
    assert told.count("\n") == 1
