"""Texts with labels in files of the user: formats, splits, columns, and what is refused."""

import json
import random
import re
from pathlib import Path

import pytest

from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.suites.default_suite import default_suite
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.short_words import with_short_words
from robustbench_wb.tasks.task import Dataset

ROWS = [("it was good", "pos"), ("it was bad", "neg"), ("NA", "pos"), ("it was good", "pos")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    return tmp_path / "texts"


def load(reference: str) -> Dataset:
    return find_task(reference).load(None)


def csv_text(rows: list[tuple[str, str]], header: str = "text,label", end: str = "\n") -> str:
    return end.join([header, *(f"{text},{label}" for text, label in rows)]) + end


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("one.csv", csv_text(ROWS)),
        ("windows.CSV", "\ufeff" + csv_text(ROWS, end="\r\n")),
        ("one.tsv", csv_text(ROWS).replace(",", "\t")),
        ("lines.jsonl", "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)),
        ("list.json", json.dumps([{"text": text, "label": label} for text, label in ROWS])),
    ],
)
def test_a_file_is_evaluated_as_it_is(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content, encoding="utf-8", newline="")
    found = load(f"texts:{folder / name}")
    assert found.label == Path(name).stem
    assert list(found.test.texts) == [text for text, _ in ROWS]
    assert found.classes == ("neg", "pos")
    assert found.test.labels.tolist() == [1, 0, 1, 1]
    assert (len(found.train), found.lexicon.words[:2]) == (0, ("it", "was"))


@pytest.mark.parametrize(("ending", "mark"), [("csv", ","), ("tsv", "\t")])
def test_separators_in_a_text_are_refused_unless_quoted(folder: Path, ending: str, mark: str) -> None:
    """pandas would take the first field of each row as the name of the row, and shift the columns."""
    place = folder / f"texts.{ending}"
    lines = [f"text{mark}label", f"good{mark} and cheap{mark}pos", f"bad{mark} and dear{mark}neg"]
    place.write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"texts\.{ending}, line 2: 3 fields under 2 names; put quotes"):
        load(f"texts:{place}")
    long = "x y " * 100_000  # longer than what Python's own reader takes
    place.write_text("\n".join([lines[0], f'"good{mark} and cheap"{mark}pos', f'"{long}{mark}"{mark}neg']))
    assert list(load(f"texts:{place}").test.texts) == [f"good{mark} and cheap", f"{long}{mark}"]


@pytest.mark.parametrize("names", [("train.csv", "test.csv"), ("train/a.csv", "Validation_1.csv")])
def test_files_called_like_splits_are_splits(folder: Path, names: tuple[str, str]) -> None:
    for name, rows in zip(names, (ROWS, ROWS[:2]), strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(csv_text(rows, "sentence,class"), encoding="utf-8")
    found = load(f"texts:{folder};length=16")
    assert (len(found.train), len(found.test), found.test.inputs.shape[1]) == (4, 2, 16)
    trained = make_plan(RunRequest(tasks=(f"texts:{folder}",), variants=("bert",), split="train")).tasks[0].task
    assert len(trained.load(None).test) == 4


def test_labels_may_be_whole_numbers_written_as_fractions(folder: Path) -> None:
    (folder / "a.csv").write_text("body,score\ngood,1.0\nbad,0.0\n")
    assert load(f"texts:{folder};text=body;label=score").test.labels.tolist() == [1, 0]


def test_a_changed_letter_is_other_data(folder: Path) -> None:
    digests = []
    for text in ("good", "food"):
        (folder / "a.csv").write_text(f"text,label\n{text},1\nbad,0\n")
        digests.append(load(f"texts:{folder}").digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("files", "tail", "message"),
    [
        ({}, "", "has no files of texts"),
        ({"a.csv": "body,label\nx,1\ny,0\n"}, "", "has the columns body, label; name the one of the text with ;text="),
        ({"a.csv": "text,tag\nx,1\ny,0\n"}, ";label=kind", "name the one of the label with ;label=COLUMN"),
        ({"a.csv": "text,label\nx,1\ny,\n"}, "", "has rows without a label \\(1\\)"),
        ({"a.csv": "text,label\nx,0.5\ny,1\n"}, "", "holds fractions"),
        ({"a.csv": ""}, "", "cannot be read"),
        ({"a.csv": "text,label\nx,yes\ny,yes\n"}, "", "has one class only, yes; a task needs two"),
        ({"a.jsonl": '{"text": ["x"], "label": 1}\n{"text": ["y"], "label": 0}\n'}, "", "holds no texts but List"),
        ({"a.json": "{nonsense"}, "", "cannot be read"),
        ({"a.csv": csv_text(ROWS), "b.json": "[]"}, "", "has files of several formats"),
        ({"train.csv": csv_text(ROWS)}, "", "has the splits train, and no 'test or val'"),
        ({"train.csv": csv_text(ROWS), "other.csv": csv_text(ROWS)}, "", "other.csv belongs to no split"),
        ({"train.csv": csv_text(ROWS), "val.csv": "text\nx\n"}, "", "without a valid label"),
    ],
)
def test_unsuitable_files_are_one_line(folder: Path, files: dict[str, str], tail: str, message: str) -> None:
    for name, content in files.items():
        (folder / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        load(f"texts:{folder}{tail}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("tail", "message"),
    [("/none", "does not exist"), (";size=3", "'size' is no option"), (";length=1", "length is a number of tokens")],
)
def test_a_wrong_reference_is_named(folder: Path, tail: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_task(f"texts:{folder}{tail}")


def test_texts_are_trained_and_attacked_like_other_texts(folder: Path) -> None:
    (folder / "a.csv").write_text(csv_text(ROWS))
    assert default_suite(f"texts:{folder}") == "adversarial-text"
    plans = [make_plan(RunRequest(tasks=(task,), variants=("bert",))) for task in (f"texts:{folder}", "ag_news")]
    ours, registered = (plan.tasks[0].subjects[0].recipe for plan in plans)
    assert ours == registered


def test_a_long_text_without_a_space_does_not_stop_the_training_of_the_tokenizer(folder: Path) -> None:
    """Training takes the square of the longest word: 400,000 letters as one word would be more than a minute."""
    word = "".join(random.Random(0).choices("abcdefgh", k=400_000))
    (folder / "train.csv").write_text(csv_text([*ROWS, (word, "neg")]))
    (folder / "test.csv").write_text(csv_text([*ROWS, (" " * 400_000 + word, "neg")]))
    found = load(f"texts:{folder};length=64")
    assert found.test.texts[-1].endswith(word)
    assert (found.train.inputs[-1] > 0).all()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("a" * 4096, 1),
        (("a" * 4096 + " ") * 3, 1),
        ("a" * 4097, 2),
        ("b " + "a" * 9000 + " c", 3),
        (" " * 4097, 2),
    ],
)
def test_only_words_beyond_the_limit_are_cut(text: str, parts: int) -> None:
    found = list(with_short_words([text]))
    assert len(found) == parts
    assert "".join(found) == text
    runs = [run for part in found for run in re.findall(r"\S+|\s+", part)]
    assert max(map(len, runs), default=0) <= 4096
