"""Options of image tasks: class lists, ids, splits and balanced samples, in the name of a task or beside it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_samples import by_turns, choose_samples
from robustbench_wb.errors import DataError
from robustbench_wb.models.chosen_outputs import ChosenOutputs
from robustbench_wb.models.image_geometry import ImageGeometry
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.evaluation_dataset import EvaluationDataset
from robustbench_wb.tasks.pictures.decode import decode_picture
from tests.known import a
from tests.tasks.hub_layout import Write, encode, noise, rows
from tests.tasks.test_hub import NAMES, split
from tests.tasks.test_pictures import picture


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """A folder with 3 training, 2 validation and 1 test pictures of each of two classes."""
    for part, count in {"train": 3, "val": 2, "test": 1}.items():
        for label in "ab":
            for number in range(count):
                picture(tmp_path / "photos" / part / label / f"{number}.png", seed=number)
    return tmp_path / "photos"


@pytest.mark.parametrize(("name", "count", "label"), [("train", 6, "train"), ("val", 4, "val"), ("test", 2, None)])
def test_any_split_of_a_folder_is_evaluated(splits: Path, name: str, count: int, label: str | None) -> None:
    request = RunRequest(tasks=(f"folder:{splits}",), variants=("vit",), split=name)
    found = make_plan(request).tasks[0].task.load(None)
    assert (len(found.test), found.label) == (count, "photos" if label is None else f"photos;split={label}")
    assert (len(found.train), found.validation is None) == (6, name != "test")


def test_options_beside_a_task_are_those_of_its_name(splits: Path, tmp_path: Path) -> None:
    classes, ids = tmp_path / "names.txt", tmp_path / "ids.txt"
    classes.write_text("b\nother\na\n")
    ids.write_text("val/b/0.png\nval/a/1.png\n")
    request = RunRequest(
        tasks=(f"folder:{splits}",), variants=("vit",), split="val", classes=str(classes), ids=str(ids)
    )
    found = make_plan(request).tasks[0].task.load(None)
    assert found.test.labels.tolist() == [2, 0]
    assert found.digest == find_task(f"folder:{splits};split=val;classes={classes};ids={ids}").load(None).digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "digits", "--classes", "x.txt"], "task 'digits' takes no --classes 'x.txt'; only folders of"),
        (["--task", "digits", "--split", "train"], "task 'digits' takes no --split 'train'; only folders of"),
        (["--task", "digits;ids=x"], "task 'digits' takes no 'ids=x'; only folders of pictures"),
        (["--task", "cifar10;colour=x"], "'colour' is no option; write ;NAME=VALUE with size, resize, interpolation"),
        (["--task", "folder:{};classes=x", "--classes", "y"], "classes is given as 'x' and as 'y'; name one"),
        (["--task", "folder:{}", "--split", "holdout"], "has the splits test, train, validation, and no 'holdout'"),
        (["--task", "folder:{}", "--ids", "none.txt"], "ids none.txt cannot be read: No such file"),
        (["--task", "sentences-lm", "--balanced", "--variant", "vit"], "has no classes; leave --balanced out"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    splits: Path, options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [option.format(splits) for option in options]
    assert run_cli(["run", *filled, "--results", str(tmp_path / "r")]) == 2
    shown = capsys.readouterr().err.strip()
    assert message in shown
    assert len(shown.splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_images_of_the_hub_take_the_same_options(write: Write, tmp_path: Path) -> None:
    root = str(write("own/toy", train=split(), valid=split(seed=9, labels=[2, 2, 0, 2]), test=split(seed=20)))
    (tmp_path / "names.txt").write_text("\n".join(["one", "fox", "two", "cat", "dög"]))
    (tmp_path / "ids.txt").write_text("3\n0\n1\n")
    name = f"own/toy;split=validation;classes={tmp_path / 'names.txt'}"
    whole = find_task(name).load(root)
    assert (whole.label, whole.test.labels.tolist(), len(whole.classes)) == (
        "own/toy;split=validation",
        [1, 1, 3, 1],
        5,
    )
    assert whole.train.labels.tolist() == [3, 1, 4, 1]
    some = a(EvaluationDataset, find_task(f"{name};ids={tmp_path / 'ids.txt'};outputs=present").load(root))
    assert some.label == "own/toy;split=validation;outputs=2 of 5"
    assert (some.test.labels.tolist(), some.classes, len(some.train)) == ([0, 0, 0], ("fox", "cat"), 0)
    assert some.outputs == ChosenOutputs(total=5, columns=(1, 3))
    assert np.array_equal(some.test.inputs, whole.test.inputs[[0, 1, 3]])
    assert a(EvaluationDataset, find_task("own/toy;outputs=present").load(root)).outputs == ChosenOutputs(
        total=3, columns=(0, 1, 2)
    )
    assert find_task("own/toy").load(root).classes == tuple(NAMES)


def test_photographs_of_the_hub_get_the_size_of_the_task(write: Write) -> None:
    shown = [noise("RGB", 0, (40, 30)), noise("L", 1, (20, 50))]
    root = str(write("own/toy", test=rows([encode(one) for one in shown], [0, 1], ["a", "b"])))
    found = find_task("own/toy;size=16;resize=18;interpolation=bicubic").load(root)
    assert found.label == "own/toy;size=16;resize=18;interpolation=bicubic"
    geometry = ImageGeometry(size=16, resize=18, interpolation="bicubic")
    for image, picture_ in zip(found.test.inputs, shown, strict=True):
        assert np.array_equal(image, decode_picture(picture_, geometry, 3))
    assert find_task("own/toy").load(root).test.inputs.shape == (2, 3, 64, 64)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("split=holdout", r"has splits \['test', 'train'\], and no 'holdout'"),
        ("ids={}", "names x; the images are numbered 0 to 3"),
        ("classes={}", "has classes cat, dög, fox, which its class list lacks"),
    ],
)
def test_wrong_options_of_the_hub_are_named(write: Write, tmp_path: Path, option: str, message: str) -> None:
    root = str(write("own/toy", train=split(), test=split(seed=20)))
    (tmp_path / "x.txt").write_text("x\n")
    with pytest.raises(DataError, match=message):
        find_task(f"own/toy;{option.format(tmp_path / 'x.txt')}").load(root)


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=60), count=st.integers(1, 60))
def test_classes_take_turns(labels: list[int], count: int) -> None:
    given_labels = np.array(labels, np.int64)
    order = by_turns(given_labels)
    assert sorted(order.tolist()) == list(range(len(labels)))
    first = np.bincount(given_labels[order[:count]], minlength=6)
    sizes = np.bincount(given_labels, minlength=6)
    # No class has two more than another that still has samples.
    assert all(first[one] <= first[other] + 1 for one in range(6) for other in range(6) if first[other] < sizes[other])
    for label in range(6):  # the order within a class stays
        assert (np.diff(order[given_labels[order] == label]) > 0).all()


def test_balanced_samples_are_as_many_of_each_class_and_a_larger_number_contains_them() -> None:
    digits = find_task("digits").load(None)
    few, many = (choose_samples(digits, count, balanced=True) for count in (50, 200))
    assert np.bincount(few.labels).tolist() == [5] * 10
    assert np.bincount(many.labels).tolist() == [20] * 10
    assert set(few.ids) <= set(many.ids)
    assert set(few.ids) != set(choose_samples(digits, 50).ids)
    assert np.array_equal(few.inputs, digits.test.inputs[few.ids])
    assert choose_samples(digits, None, balanced=True).ids.tolist() == choose_samples(digits, None).ids.tolist()
