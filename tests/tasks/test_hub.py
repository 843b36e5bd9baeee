"""Datasets from a mirror in hub layout: reading, caching, and rejected data."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import httpx2
import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants, errors

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.hub_images import HubTask
from robustbench_wb.tasks.task import TaskFacts
from tests.known import a
from tests.tasks.hub_layout import Write, encode, noise, rows

NAMES = ["cat", "dög", "fox"]
LABELS = [0, 2, 1, 2]


def split(mode: str = "L", seed: int = 0, labels: list[Any] = LABELS, kind: str = "PNG", **options: Any) -> Any:
    pictures = [encode(noise(mode, seed + index), kind, **options) for index in range(len(labels))]
    return rows(pictures, labels, NAMES)


def pixels(mode: str = "L", seed: int = 0) -> np.ndarray:
    stacked = np.stack([np.asarray(noise(mode, seed + index)) for index in range(len(LABELS))])
    return stacked[:, None] if mode == "L" else stacked.transpose(0, 3, 1, 2)


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "datasets").glob("*"))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("folder", ["own/toy", "toy"])
def test_a_mirror_is_read(write: Write, mode: str, folder: str) -> None:
    root = write(folder, train=split(mode, 0), test=split(mode, 50, labels=LABELS[::-1]))
    data = find_task("own/toy").load(str(root))
    assert data.label == "own/toy"
    assert data.classes == tuple(NAMES)
    assert a(ImageShape, data.shape).patch == 1
    assert (np.asarray(data.train.inputs) == pixels(mode, 0)).all()
    assert (np.asarray(data.test.inputs) == pixels(mode, 50)).all()
    assert data.train.labels.tolist() == LABELS
    assert data.test.labels.tolist() == LABELS[::-1]
    assert data.train.labels.dtype == np.int64


def test_the_environment_names_a_mirror(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = write("own/toy", train=split(), test=split(seed=9))
    monkeypatch.setenv("RBWB_DATA_DIR", str(root))
    assert len(find_task("own/toy").load(None).train) == 4
    monkeypatch.setenv("RBWB_DATA_DIR", str(tmp_path / "nowhere"))
    assert len(find_task("own/toy").load(str(root)).train) == 4  # the option wins
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RBWB_DATA_DIR", "~/mirror")
    assert len(find_task("own/toy").load(None).train) == 4


def test_owner_and_name_come_before_name(write: Write) -> None:
    write("toy", train=split(seed=20), test=split(seed=30))
    root = write("own/toy", train=split(seed=0), test=split(seed=9))
    assert (np.asarray(find_task("own/toy").load(str(root)).train.inputs) == pixels(seed=0)).all()


def test_validation_stands_in_for_a_missing_test(write: Write) -> None:
    root = write("toy", train=split(), validation=split(seed=9))
    assert (np.asarray(find_task("a/toy").load(str(root)).test.inputs) == pixels(seed=9)).all()
    write("both", train=split(), validation=split(seed=9), test=split(seed=20))
    assert (np.asarray(find_task("a/both").load(str(root)).test.inputs) == pixels(seed=20)).all()


def test_splits_of_different_make_fit_together(write: Write) -> None:
    root = write("toy", train=split("L"), test=split("RGB"))
    data = find_task("a/toy").load(str(root))
    assert data.train.inputs.shape == data.test.inputs.shape == (4, 3, 8, 8)


def test_a_jpeg_copy_is_named_where_the_original_is_lossless(write: Write) -> None:
    root = write("toy", train=split("RGB", kind="JPEG", quality=75), test=split("RGB", kind="JPEG", quality=75))
    facts = TaskFacts(name="toy", summary="", source="a/toy", lossless=True, patch=4)
    data = HubTask(facts).load(str(root))
    assert (data.label, a(ImageShape, data.shape).patch) == ("toy-jpeg75", 4)
    assert find_task("a/toy").load(str(root)).label == "a/toy"
    write("half", train=split("RGB"), test=split("RGB", kind="JPEG", quality=75))
    assert HubTask(facts.model_copy(update={"source": "a/half"})).load(str(root)).label == "toy-jpeg75"
    write("exact", train=split("RGB"), test=split("RGB"))
    assert HubTask(facts.model_copy(update={"source": "a/exact"})).load(str(root)).label == "toy"


# --- the cache of decoded arrays ---


def test_the_second_load_does_not_decode(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write("toy", train=split(), test=split(seed=9))
    first = find_task("a/toy").load(str(root))
    monkeypatch.setattr(datasets, "load_dataset", lambda *given, **named: pytest.fail("decoded again"))
    second = find_task("a/toy").load(str(root))
    assert first.train.digest() == second.train.digest()
    assert (first.classes, first.label) == (second.classes, second.label)
    shutil.copytree(root, root.with_name("elsewhere"))
    find_task("other/toy").load(str(root.with_name("elsewhere")))  # the cache is addressed by content, not by location


def test_the_second_load_does_not_import_datasets(write: Write) -> None:
    root = write("toy", train=split(), test=split(seed=9))
    find_task("a/toy").load(str(root))
    code = (
        "import sys; from robustbench_wb.tasks.catalogue import find_task; "
        f"d = find_task('a/toy').load({str(root)!r}); "
        "print(d.test.digest(), [m for m in ('datasets', 'torch', 'pandas', 'huggingface_hub') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split(maxsplit=1) == [find_task("a/toy").load(str(root)).test.digest(), "[]\n"]


def test_one_edited_pixel_is_seen_whatever_the_file_dates_say(write: Write) -> None:
    root = write("toy", train=split(kind="BMP"), test=split(seed=9))
    path = root / "toy" / "data" / "train-00000-of-00001.parquet"
    before, seen = find_task("a/toy").load(str(root)), path.stat()
    content = bytearray(path.read_bytes())
    where = content.find(noise("L", 2).tobytes()[-8:])  # a BMP holds its last row first; the row itself is plain
    assert where > 0
    content[where + 3] ^= 0xFF
    path.write_bytes(bytes(content))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (seen.st_size, seen.st_mtime_ns)
    after = find_task("a/toy").load(str(root))
    changed = np.argwhere(np.asarray(before.train.inputs) != np.asarray(after.train.inputs))
    assert changed.tolist() == [[2, 0, 7, 3]]
    assert before.train.digest() != after.train.digest()
    assert before.test.digest() == after.test.digest()


def test_files_that_trade_places_are_seen(write: Write, tmp_path: Path) -> None:
    """Files with equal names, bytes and order in other folders belong to other splits."""
    root = tmp_path / "mirror"
    for folder, part in (("test", split(seed=0)), ("train", split(seed=9))):
        (root / "toy" / folder).mkdir(parents=True)
        part.to_parquet(root / "toy" / folder / "0.parquet")
    assert (np.asarray(find_task("a/toy").load(str(root)).test.inputs) == pixels(seed=0)).all()
    (root / "toy" / "train").rename(root / "toy" / "validation")
    (root / "toy" / "test").rename(root / "toy" / "train")
    assert (np.asarray(find_task("a/toy").load(str(root)).train.inputs) == pixels(seed=0)).all()
    assert (np.asarray(find_task("a/toy").load(str(root)).test.inputs) == pixels(seed=9)).all()


def test_hidden_files_are_no_part_of_a_mirror(write: Write, tmp_path: Path) -> None:
    root = write("toy", train=split(), test=split(seed=9))
    find_task("a/toy").load(str(root))
    (root / "toy" / ".cache").mkdir()
    (root / "toy" / ".cache" / "fetched.txt").write_text("today")
    find_task("a/toy").load(str(root))
    assert len(cached(tmp_path)) == 1


@pytest.mark.parametrize(
    "damage", ["no card", "card", "list card", "array", "empty array", "no array", "other array", "flipped"]
)
def test_a_damaged_or_unfinished_copy_is_decoded_again(
    write: Write, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = write("toy", train=split(), test=split(seed=9))
    before = find_task("a/toy").load(str(root)).train.digest()
    (folder,) = cached(tmp_path)
    images = folder / "train-images.npy"
    match damage:
        case "no card":
            (folder / "card.json").unlink()
        case "card":
            (folder / "card.json").write_text('{"classes"')
        case "list card":
            (folder / "card.json").write_text("[1]")
        case "array":
            images.write_bytes(images.read_bytes()[:-40])
        case "empty array":
            images.write_bytes(b"")
        case "no array":
            images.unlink()
        case "other array":
            np.save(images, np.zeros((1, 1, 8, 8), np.uint8))
        case "flipped":
            labels = folder / "test-labels.npy"
            labels.write_bytes(labels.read_bytes()[:-8] + (1).to_bytes(8, "little"))
    with caplog.at_level(logging.WARNING):
        assert find_task("a/toy").load(str(root)).train.digest() == before
    assert ("damaged" in caplog.text) == (damage != "no card")
    assert json.loads((folder / "card.json").read_text())["card"]["classes"] == NAMES
    assert {path.name for path in folder.iterdir()} == {
        "card.json",
        *(f"{part}-{kind}.npy" for part in ("train", "test") for kind in ("images", "labels")),
    }


@pytest.mark.slow(2)
def test_two_processes_decode_at_once(write: Write, tmp_path: Path) -> None:
    root = write("toy", train=split(labels=LABELS * 50), test=split(seed=9))
    gate = tmp_path / "gate"
    code = (
        "import datasets, pathlib, time; from robustbench_wb.tasks.catalogue import find_task\n"
        f"gate = pathlib.Path({str(gate)!r})\nprint('ready', flush=True)\n"
        "while not gate.exists(): time.sleep(0.005)\n"
        f"d = find_task('a/toy').load({str(root)!r}); print(d.train.digest(), d.test.digest())"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    gate.touch()
    told = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    data = find_task("a/toy").load(str(root))
    assert {out for out, _ in told} == {f"{data.train.digest()} {data.test.digest()}\n"}
    assert len(cached(tmp_path)) == 1


# --- rejected data ---


def refused(root: Path, name: str = "a/toy") -> str:
    with pytest.raises(DataError) as caught:
        find_task(name).load(str(root))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_splits(write: Write) -> None:
    assert "has splits ['train']; a task needs 'test' or 'validation'" in refused(
        write("only", train=split()), "a/only"
    )


def test_without_a_training_split_the_rest_is_read(write: Write) -> None:
    data = find_task("a/toy").load(str(write("toy", test=split(seed=9))))
    assert (np.asarray(data.test.inputs) == pixels(seed=9)).all()
    assert (len(data.train), data.shape.classes) == (0, len(NAMES))


@pytest.mark.parametrize("hidden", [-1, None])
def test_validation_stands_in_for_a_test_split_without_labels(write: Write, hidden: int | None) -> None:
    root = write("toy", train=split(), validation=split(seed=9), test=split(seed=20, labels=[hidden] * 4))
    assert (np.asarray(find_task("a/toy").load(str(root)).test.inputs) == pixels(seed=9)).all()


def test_columns(write: Write) -> None:
    extra = rows(
        [encode(noise("L", 0))], [0], NAMES, other=([{"bytes": encode(noise("L", 1)), "path": None}], datasets.Image())
    )
    message = refused(write("toy", train=extra, test=extra))
    assert "has the columns image, label, other: the image columns image, other and the class-label column" in message
    bare = split().remove_columns("label")
    assert "has the columns image: the image column image and no class-label column; a task" in refused(
        write("bare", train=bare, test=bare), "a/bare"
    )
    text = split().remove_columns("image")
    assert "has the columns label: no image column and the class-label column label" in refused(
        write("text", train=text, test=text), "a/text"
    )


def test_files_with_other_columns_or_other_bytes_are_one_line(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    root = write("toy", train=split(), test=split().rename_column("image", "picture"))
    assert "has files with different columns: picture, label in one, image, label in another" in refused(root)
    (file,) = (write("broken", train=split(), test=split()) / "broken").rglob("test*.parquet")
    file.write_bytes(b"PAR1 and no more")
    message = refused(root, "a/broken")
    assert "broken cannot be read: " in message
    assert "Parquet magic bytes not found in footer" in message
    assert capfd.readouterr().err == ""  # the library says nothing beside


@pytest.mark.slow(5)
def test_a_new_process_tells_of_other_columns_in_one_line(write: Write, tmp_path: Path) -> None:
    """The library, imported for the first dataset, sets how much it says."""
    root = write("toy", train=split(), test=split().rename_column("image", "picture"))
    words = ["run", "--task", "a/toy", "--variant", "vit", "--plan", "--data-dir", str(root)]
    done = subprocess.run(
        [sys.executable, "-m", "robustbench_wb", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "has files with different columns: picture, label in one, image, label in another" in line


def test_pairs_of_reviews_need_their_column_and_splits(write: Write) -> None:
    other = split().rename_column("image", "picture")
    root = write("stanfordnlp/imdb", train=other, test=other)
    assert refused(root, "retrieval-1k") == "retrieval-1k has the columns picture, label; a task needs 'text'"
    (file,) = (root / "stanfordnlp" / "imdb").rglob("test*")
    file.unlink()
    assert refused(root, "retrieval-1k") == "retrieval-1k has splits ['train']; a task needs 'train' and 'test'"


def test_the_usual_label_is_taken_among_several(write: Write) -> None:
    coarse = (LABELS, datasets.ClassLabel(num_classes=3))
    part = rows([encode(noise("L", i)) for i in range(4)], [0, 1, 0, 1], ["a", "b"], coarse_label=coarse)
    root = write("toy", train=part, test=part)
    assert find_task("a/toy").load(str(root)).classes == ("a", "b")
    both = part.rename_column("label", "other_label")
    assert "one of each" in refused(write("two", train=both, test=both), "a/two")


@pytest.mark.parametrize("label", [-1, None])
def test_rows_without_a_label(write: Write, label: int | None) -> None:
    root = write("toy", train=split(), validation=split(labels=[0, 1, label]))
    assert "split 'validation' holds rows without a valid label" in refused(root)


def test_broken_and_missing_pictures(write: Write) -> None:
    whole = encode(noise("L", 0))
    broken = rows([whole, whole, b"no picture", whole], LABELS, NAMES)
    assert "image 2 of split train cannot be decoded" in refused(write("toy", train=broken, test=split()))
    first = rows([whole[:30]], [0], NAMES)
    assert "image 0 of split test cannot be" in refused(write("first", train=split(), test=first), "a/first")
    absent = rows([whole, None], [0, 0], NAMES)
    assert "image 1 of split test is missing" in refused(write("absent", train=split(), test=absent), "a/absent")


def test_empty(write: Write) -> None:
    message = refused(write("toy", train=split(), test=split(labels=[])))
    assert message.endswith("mirror/toy has a split without rows: test; remove its files")
    rows = split()
    place = write("none", train=rows, test=rows) / "none" / "data"
    pq.write_table(rows.data.table.slice(0, 0), place / "test-00000-of-00001.parquet")
    assert "has a split without rows; remove its files" in refused(place.parents[1], "a/none")


def test_a_refused_dataset_leaves_nothing_that_looks_whole(write: Write, tmp_path: Path) -> None:
    root = write("toy", train=split(), test=split(labels=[0, -1]))
    assert refused(root) == refused(root)
    assert not list((tmp_path / "cache").rglob("card.json"))


def test_files_that_are_no_parquet(tmp_path: Path) -> None:
    folder = tmp_path / "mirror" / "toy"
    folder.mkdir(parents=True)
    (folder / "train-0.parquet").write_text("version https://git-lfs.github.com/spec/v1")
    message = refused(tmp_path / "mirror")
    assert "cannot be read" in message
    assert "Parquet magic bytes not found" in message  # the cause instead of "an error occurred"


def test_a_data_folder_that_does_not_exist(tmp_path: Path) -> None:
    message = refused(tmp_path / "nowhere", "fashion-mnist")
    assert "does not exist" in message
    assert "data_dir" in message


@pytest.mark.slow(2)
def test_no_network_and_no_mirror(tmp_path: Path) -> None:
    code = (
        "import sys; from robustbench_wb.errors import DataError\n"
        "from robustbench_wb.tasks.catalogue import find_task\n"
        "try: find_task('fashion-mnist').load(sys.argv[1] if len(sys.argv) > 1 else None)\n"
        "except DataError as error: print(error)"
    )
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    environment.pop("HF_HUB_OFFLINE", None)
    (tmp_path / "empty").mkdir()
    for arguments, where in (([], "no local mirror was given"), ([str(tmp_path / "empty")], "has no folder for it")):
        started = time.perf_counter()
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, timeout=60
        )
        assert time.perf_counter() - started < 20
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        (message,) = result.stdout.splitlines()
        assert "'zalando-datasets/fashion_mnist' cannot be reached" in message
        for part in (where, "data_dir", "embedded task digits", "refused"):
            assert part in message


class Hub:
    """Stand-in for the hub with given answers, which notes all requests."""

    def __init__(self, answer: Any, loaded: Any) -> None:
        self.answer, self.loaded = answer, loaded
        self.asked: list[tuple[str, str | None, bool, bool]] = []

    def dataset_info(self, hub_id: str, timeout: float) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(sha=self.answer)

    def load_dataset(self, hub_id: str, config: str | None, revision: str | None) -> Any:
        self.asked.append((hub_id, revision, constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE))
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)
        monkeypatch.setattr(datasets, "load_dataset", self.load_dataset)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


def answered(kind: Callable[..., Exception], status: int) -> Exception:
    response = httpx2.Response(status, request=httpx2.Request("GET", "https://hub.example"))
    return kind(f"{status} says the hub\nand much more", response=response)


SILENT = [
    httpx2.ConnectError("no route"),
    httpx2.ReadTimeout("too slow"),
    OSError("network is down"),
    errors.OfflineModeIsEnabled("told to stay offline"),
    answered(errors.HfHubHTTPError, 503),
    answered(errors.HfHubHTTPError, 429),
]


@pytest.mark.parametrize("silence", SILENT, ids=lambda error: type(error).__name__)
def test_a_silent_hub_leaves_its_local_cache(silence: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    both = datasets.DatasetDict(train=split(), test=split(seed=9))
    stand_in = Hub(silence, both)
    stand_in.install(monkeypatch)
    assert len(find_task("a/toy").load(None).train) == 4
    assert stand_in.asked == [("a/toy", None, True, True)]
    assert [constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE] == [False, False]


def test_a_hub_that_answers_is_asked_for_one_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = Hub("abc", ValueError("Config name is missing.\nPick one"))
    stand_in.install(monkeypatch)
    with pytest.raises(DataError, match=r"'a/toy' is on the hub but cannot be loaded: Config name is missing\.$"):
        find_task("a/toy").load(None)
    assert stand_in.asked == [("a/toy", "abc", False, False)]


@pytest.mark.parametrize("kind", [errors.RepositoryNotFoundError, errors.GatedRepoError, errors.DisabledRepoError])
def test_a_hub_that_refuses(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = Hub(answered(kind, 403), AssertionError("not to be loaded"))
    stand_in.install(monkeypatch)
    with pytest.raises(DataError, match=r"the hub has no readable dataset 'a/toy': 403 says the hub$"):
        find_task("a/toy").load(None)
    assert stand_in.asked == []


def test_a_name_that_the_hub_library_refuses() -> None:
    with pytest.raises(DataError, match="the hub has no readable dataset 'a--b/c'"):
        find_task("a--b/c").load(None)
