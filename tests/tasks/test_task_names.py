"""Tasks by name, and default patch sizes."""

from pathlib import Path

import pytest

from robustbench_wb.errors import DataError, UnknownNameError, UsageError
from robustbench_wb.tasks.catalogue import TASKS, find_task
from robustbench_wb.tasks.hub_images import CIFAR10, FASHION_MNIST, HubTask
from robustbench_wb.tasks.task import MAX_TOKENS, default_patch
from tests.known import a


def test_registered_names() -> None:
    assert TASKS.names()[:4] == ["digits", "digits-32", "fashion-mnist", "cifar10"]
    assert find_task("cifar10") is CIFAR10
    assert find_task("fashion-mnist") is FASHION_MNIST


def test_hub_ids() -> None:
    task = a(HubTask, find_task("someone/flowers.v2_x-1"))
    assert task.name == task.facts.source == "someone/flowers.v2_x-1"
    assert not task.facts.lossless
    assert task.facts.patch is None


def test_a_hub_id_keeps_what_is_known_of_that_dataset() -> None:
    """A JPEG copy of CIFAR-10 that is requested by its hub id is labelled as a copy."""
    task = a(HubTask, find_task("uoft-cs/cifar10"))
    assert task.name == "uoft-cs/cifar10"
    assert (task.facts.lossless, task.facts.patch, task.facts.source) == (True, 4, "uoft-cs/cifar10")


@pytest.mark.parametrize("name", ["nothing", "", "/", "a/", "/b", "a/b/c", "./b", "../b", "a b/c", "~/b", "a/b\n"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown task"):
        find_task(name)


def test_paths_need_the_word_that_says_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "pictures" / "ape").mkdir(parents=True)
    (tmp_path / "owner" / "rows").mkdir()
    (tmp_path / "texts.csv").write_text("text,label\n")
    (tmp_path / "owner" / "pictures" / "ape" / "0.png").write_bytes(b"a picture")
    for name in ("owner", "owner/pictures", "./owner", f"{tmp_path};size=8"):
        with pytest.raises(UsageError, match="is a folder; write folder:"):
            find_task(name)
    with pytest.raises(UsageError, match=r"is a file; write texts:texts\.csv for texts"):
        find_task("texts.csv")
    assert a(HubTask, find_task("owner/rows")).name == "owner/rows"


@pytest.mark.parametrize(("wrong", "right"), [("digit", "digits"), ("CIFAR-10", "cifar10"), ("mnist", "fashion-mnist")])
def test_suggestions(wrong: str, right: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean .*{right}"):
        find_task(wrong)


@pytest.mark.parametrize(
    ("height", "width", "patch"),
    [
        (1, 1, 1),
        (8, 8, 1),
        (9, 9, 3),
        (28, 28, 4),
        (32, 32, 4),
        (64, 64, 8),
        (64, 96, 16),
        (224, 224, 28),
        (31, 31, 31),
    ],
)
def test_default_patch(height: int, width: int, patch: int) -> None:
    assert default_patch(height, width) == patch
    assert default_patch(width, height) == patch
    assert (height // patch) * (width // patch) <= MAX_TOKENS


@pytest.mark.parametrize("sides", [(97, 64), (28, 29), (1, 65)])
def test_no_patch(sides: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="cannot be cut"):
        default_patch(*sides)
