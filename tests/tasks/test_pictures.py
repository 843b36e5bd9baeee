"""Folders of pictures as a task: what is listed, how labels become outputs, and which pixels a model sees."""

import errno
import hashlib
import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_wb.engine.task_samples import choose_samples
from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.models.image_geometry import ImageGeometry
from robustbench_wb.models.providers import library
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.pictures import decode
from robustbench_wb.tasks.pictures.mapped_rows import copy_rows
from robustbench_wb.tasks.task import Dataset


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Path:
    """Write a smooth random picture; the ending of the path gives the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes with 4, 3 and 2 pictures of several sizes and formats."""
    root = tmp_path / "animals"
    for at, (label, count) in enumerate({"ape": 4, "bee": 3, "cat": 2}.items()):
        for number in range(count):
            ending = ("jpg", "png", "JPEG", "webp")[number]
            picture(root / label / f"{number}.{ending}", seed=10 * at + number, size=(40 + number, 30 + 5 * at))
    return root


def load(reference: str) -> Dataset:
    return find_task(reference).load(None)


def test_what_is_left_out_is_counted(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "notes.txt").write_text("about the pictures")
    load(f"folder:{folder}")
    assert not caplog.records
    for name in ("ape/a.heic", "bee/b.jfif"):
        (folder / name).write_bytes(b"of another format")
    picture(folder / "lost.png")
    assert len(load(f"folder:{folder}").test) == 9
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}: files without a class folder are left out: 1, first lost.png",
        f"{folder}: files without the ending of a picture are left out: 2, first ape/a.heic",
    ]
    caplog.clear()
    flat = tmp_path / "flat"
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        picture(flat / name, seed=seed)
    (flat / "labels.csv").write_text("file_name,label\na.png,dog\nc.png,cat\n")
    assert len(load(f"folder:{flat}").test) == 2
    (message,) = (record.getMessage() for record in caplog.records)
    assert message == f"{flat}: files without a label in labels.csv are left out: 1, first b.png"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('file_name,label\na.png,"dog\nb.png,cat\n', "labels.csv cannot be read: a quote is not closed"),
        ("file_name,label\na.heic,dog\nb.png,cat\n", r"names a\.heic, which does not end like a picture: \.bmp, "),
        ("file_name,label\nx.png,dog\nb.png,cat\n", r"names files that .* lacks: 1, first x\.png"),
    ],
)
def test_a_wrong_table_is_told(content: str, problem: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "a.heic").write_bytes(b"of another format")
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(DataError, match=problem):
        load(f"folder:{tmp_path}")


def test_class_folders_are_classes_in_sorted_order(folder: Path) -> None:
    picture(folder / "bee" / "deeper" / "x.png")
    (folder / "bee" / "._0.jpg").write_bytes(b"resource fork")
    (folder / "notes.txt").write_text("no picture")
    found = load(f"folder:{folder}")
    assert found.classes == ("ape", "bee", "cat")
    assert found.test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 2
    assert found.label == "animals;size=64;interpolation=bilinear"
    assert found.shape == ImageShape(channels=3, height=64, width=64, classes=3, patch=8)
    assert len(found.train) == 0


def test_pictures_of_one_size_keep_it_and_grey_ones_have_one_channel(tmp_path: Path) -> None:
    for label in "ab":
        picture(tmp_path / "grey" / label / "0.png", mode="L")
    found = load(f"folder:{tmp_path / 'grey'}")
    assert found.label == "grey"
    assert found.test.inputs.shape == (2, 1, 30, 40)
    stored = np.asarray(Image.open(tmp_path / "grey" / "a" / "0.png"))
    assert np.array_equal(found.test.inputs[0, 0], stored)


def test_folders_called_like_splits_are_splits(tmp_path: Path) -> None:
    for split, count in {"train": 3, "val": 2, "test": 1}.items():
        for label in "ab":
            for number in range(count):
                picture(tmp_path / split / label / f"{number}.png", seed=number)
    found = load(f"folder:{tmp_path}")
    assert (len(found.train), len(found.validation or ()), len(found.test)) == (6, 4, 2)
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "documents").mkdir()
    assert len(load(f"folder:{tmp_path}").test) == 4
    picture(tmp_path / "val" / "new" / "0.png")
    with pytest.raises(DataError, match="validation has classes new, which its class list lacks"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", "file_name,label\na.png,dog\nb.png,cat\n"),
        ("labels.csv", "\ufeffimage,class\r\na.png,dog\r\nb.png,cat\r\n"),
        ("labels.csv", "File_Name, Label\n./a.png, dog\na.png,dog\nb.png,cat\n"),
        ("labels.json", '{"a.png": "dog", "b.png": "cat"}'),
        ("metadata.jsonl", '{"file_name": "a.png", "label": "dog"}\n{"file_name": "b.png", "label": "cat"}\n'),
    ],
)
def test_a_flat_folder_takes_its_labels_from_a_table(tmp_path: Path, name: str, content: str) -> None:
    for file in ("a.png", "b.png", "unlabelled.png"):
        picture(tmp_path / file)
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = load(f"folder:{tmp_path}")
    assert found.classes == ("cat", "dog")
    assert found.test.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file_name,label\na.png,dog\ngone.png,cat\n", "names files that .* lacks: 1, first gone.png"),
        ("file_name,label\na.png,\n", "a.png has no label"),
        ("file_name,label\na.png,dog\na.png,cat\n", "a.png has the labels dog and cat"),
        ("picture,animal\na.png,dog\n", "has the columns picture, animal; it needs file_name and label"),
        ("", "no rows of a file name and a label"),
        ("file_name,label\na.png,0.5\n", "a.png has 0.5; a label is a word or a whole number from 0"),
        ("file_name,label\na.png,-1\n", "a.png has -1; a label is a word or a whole number from 0"),
        ("file_name,label\na.png,dog\n", "has one class only, dog; name the folder that holds the class folders"),
    ],
)
def test_a_wrong_table_of_labels_is_named(tmp_path: Path, content: str, message: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(f"folder:{tmp_path}")


def test_numbers_with_a_decimal_point_are_outputs(tmp_path: Path) -> None:
    for file in ("a.png", "b.png"):
        picture(tmp_path / file)
    (tmp_path / "labels.csv").write_text("file_name,label\na.png,1.0\nb.png,0.\n")
    assert load(f"folder:{tmp_path}").test.labels.tolist() == [1, 0]
    (tmp_path / "labels.csv").write_text("file_name,label\na.png,281\nb.png,999.0\n")
    found = load(f"folder:{tmp_path};classes=imagenet-1k")
    assert (found.test.labels.tolist(), len(found.classes)) == ([281, 999], 1000)


@pytest.mark.parametrize(
    ("name", "content", "labels", "classes"),
    [
        ("names.txt", "zebra\ncat\nbee\nape\n", [3, 2, 1], 4),
        ("names.json", '["cat", "ape", "bee"]', [1, 2, 0], 3),
        ("map.json", '{"ape": 0, "bee": 2, "cat": 1}', [0, 2, 1], 3),
        ("index.json", '{"0": ["bee", "insect"], "1": ["cat", "feline"], "2": ["ape", "primate"]}', [2, 0, 1], 3),
        ("map.csv", "label,output\nape,1\nbee,1\ncat,0\n", [1, 1, 0], 2),
    ],
)
def test_a_class_list_gives_outputs(folder: Path, name: str, content: str, labels: list[int], classes: int) -> None:
    path = folder.parent / name
    path.write_text(content, encoding="utf-8")
    found = load(f"folder:{folder};classes={path}")
    assert (found.test.labels[[0, 4, 7]].tolist(), found.shape.classes) == (labels, classes)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("names.txt", "ape\nbee\n", "has classes cat, which its class list lacks"),
        ("map.json", '{"ape": 0, "bee": 5, "cat": 1}', "not numbered 0 to n - 1"),
        ("map.json", "3", "neither a list nor an object"),
        ("names.txt", "ape\nbee\ncat\nape\n", "names 'ape' twice"),
        ("gone.txt", None, "No such file"),
    ],
)
def test_a_wrong_class_list_is_named(folder: Path, name: str, content: str | None, message: str) -> None:
    path = folder.parent / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(f"folder:{folder};classes={path}")


def test_wordnet_folders_have_the_outputs_of_imagenet(tmp_path: Path) -> None:
    library.load_library("timm", "timm")
    for label in ("n01440764", "n15075141", "n02123045"):
        picture(tmp_path / label / "0.png")
    found = load(f"folder:{tmp_path};classes=imagenet-1k")
    assert found.test.labels.tolist() == [0, 281, 999]  # tench, tabby cat, toilet tissue
    assert found.shape.classes == 1000


def test_ids_choose_pictures_by_path_or_unique_name(folder: Path) -> None:
    ids = folder.parent / "ids.txt"
    ids.write_text("cat/1.png\nanything/2.JPEG\nape/3.webp\n")
    with pytest.raises(DataError, match=r"names anything/2.JPEG, which several folders hold; write its path"):
        load(f"folder:{folder};ids={ids}")
    ids.write_text("cat/1.png\nsomewhere/3.webp\n")
    assert load(f"folder:{folder};ids={ids}").test.labels.tolist() == [0, 2]
    ids.write_text("cat/9.png\n")
    with pytest.raises(DataError, match=r"which .* lacks"):
        load(f"folder:{folder};ids={ids}")


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("x", "does not exist"),
        (";size=0", "size must be a number of pixels"),
        (";size=99999", "size must be at most 4096, not '99999'"),
        (";resize=256", "resize need a size as well"),
        (";size=224;interpolation=cubic", "interpolation must be one of nearest, bilinear"),
        (";colour=red", "'colour' is no option"),
        (";size", "size needs a value, like ;size=VALUE"),
    ],
)
def test_a_wrong_reference_is_named(folder: Path, tail: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_task(f"folder:{folder}{tail}")


def test_what_is_no_picture_is_named_before_anything_runs(folder: Path) -> None:
    (folder / "ape" / "empty.jpg").write_bytes(b"")
    (folder / "ape" / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"2 of 11 .* read: ape/empty.jpg \(it is empty\), ape/text.png \(it is no"):
        load(f"folder:{folder}")


def test_a_truncated_picture_is_named_when_it_is_decoded(folder: Path) -> None:
    broken = folder / "cat" / "0.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    found = load(f"folder:{folder}")
    with pytest.raises(DataError, match=r"cat/0.jpg cannot be decoded: image file is truncated"):
        choose_samples(found, None)


@pytest.mark.parametrize("empty", ["", "class/notes.txt", "flat.png"])
def test_a_folder_without_labelled_pictures_is_refused(tmp_path: Path, empty: str) -> None:
    if empty.endswith(".txt"):
        (tmp_path / "class").mkdir()
        (tmp_path / empty).write_text("")
    elif empty:
        picture(tmp_path / empty)
    with pytest.raises(DataError, match="has no pictures in class folders"):
        load(f"folder:{tmp_path}")


def test_a_class_folder_without_pictures_would_move_the_outputs_of_the_next_ones(folder: Path, tmp_path: Path) -> None:
    (folder / "bat" / "deeper").mkdir(parents=True)
    (folder / ".cache").mkdir()
    with pytest.raises(DataError, match=r"class folders without pictures: bat; .* remove these folders, or say with"):
        load(f"folder:{folder}")
    (tmp_path / "classes.txt").write_text("ape\nbat\nbee\ncat\n")
    assert load(f"folder:{folder};classes={tmp_path}/classes.txt").test.labels.tolist() == [0] * 4 + [2] * 3 + [3] * 2
    splits = tmp_path / "splits"
    shutil.copytree(folder, splits / "val")
    shutil.copytree(folder, splits / "train")
    picture(splits / "train" / "bat" / "0.png")
    assert load(f"folder:{splits}").test.labels.tolist() == [0] * 4 + [2] * 3 + [3] * 2


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (224, 224), (97, 333)])
@pytest.mark.parametrize(
    ("crop", "fraction", "interpolation"),
    [("center", 0.875, "bilinear"), ("center", 0.9, "bicubic"), ("squash", 1.0, "bicubic")],
)
def test_pixels_are_those_of_timm(
    tmp_path: Path, size: tuple[int, int], crop: str, fraction: float, interpolation: str
) -> None:
    timm = library.load_library("timm", "timm")
    transform = timm.data.create_transform(
        (3, 64, 64), interpolation=interpolation, crop_pct=fraction, crop_mode=crop, mean=(0, 0, 0), std=(1, 1, 1)
    )
    geometry = ImageGeometry.model_validate(
        {"size": 64, "resize": int(64 / fraction), "interpolation": interpolation, "crop": crop}
    )
    with Image.open(picture(tmp_path / "0.png", size=size)) as shown:
        expected = (transform(shown.convert("RGB")).numpy() * 255).round().astype(np.uint8)
        assert np.array_equal(decode.decode_picture(shown, geometry, 3), expected)


@pytest.mark.parametrize(
    ("ending", "mode"),
    [("png", "1"), ("png", "P"), ("png", "LA"), ("png", "RGBA"), ("jpg", "CMYK"), ("gif", "P"), ("JPEG", "RGB")],
)
def test_other_modes_are_read_as_torchvision_reads_them(tmp_path: Path, ending: str, mode: str) -> None:
    shown = Image.open(picture(tmp_path / "0.png", mode="RGB")).convert(mode)
    turned = Image.Exif()
    turned[0x112] = 6  # an orientation, which torchvision and timm ignore
    path = tmp_path / f"größe 1 ; 2.{ending}"
    if ending == "gif":
        shown.save(path, save_all=True, append_images=[Image.new(mode, shown.size)])
    else:
        shown.save(path, exif=turned)
    with Image.open(path) as stored:
        expected = np.asarray(stored.convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(decode.decode_picture(stored, None, 3), expected)


def test_only_the_chosen_pictures_are_decoded_and_a_second_start_reads_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = decode.decode_picture

    def counted(shown: Image.Image, *rest: object) -> object:
        opened.append(Path(getattr(shown, "filename", "")).name)
        return real(shown, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "decode_picture", counted)
    reference = f"folder:{folder};size=16"
    chosen = choose_samples(load(reference), 4)
    assert len(opened) == 4
    whole = load(reference).test.inputs
    assert np.array_equal(chosen.inputs, whole[chosen.ids])
    opened.clear()
    again = choose_samples(load(reference), 4)
    assert (np.array_equal(again.inputs, chosen.inputs), opened) == (True, [])


def test_a_changed_picture_is_other_data_and_a_touched_or_moved_one_is_the_same(folder: Path) -> None:
    before = load(f"folder:{folder};size=16").digest
    target = folder / "ape" / "0.jpg"
    os.utime(target, ns=(1, 1))
    assert load(f"folder:{folder};size=16").digest == before
    moved = folder.rename(folder.with_name("moved"))
    assert load(f"folder:{moved};size=16").digest == before
    assert load(f"folder:{moved};size=17").digest != before
    picture(moved / "ape" / "0.jpg", seed=99)
    assert load(f"folder:{moved};size=16").digest != before


def test_many_pictures_are_decoded_by_several_processes_to_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        picture(tmp_path / "ab"[number % 2] / f"{number}.png", seed=number)
    shape, files = (3, 20, 20), [f"{'ab'[n % 2]}/{n}.png" for n in range(6)]
    geometry = ImageGeometry(size=20)
    digests = [hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() for file in files]
    made = partial(
        decode.decode_pictures, folder=tmp_path, files=files, digests=digests, geometry=geometry, shape=shape
    )
    made(tmp_path / "one.npy")
    monkeypatch.setattr(decode, "PARALLEL", 1)
    monkeypatch.setattr(decode, "CHUNK", 2)
    made(tmp_path / "many.npy")
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "many.npy").read_bytes()


def test_a_picture_that_changes_between_digest_and_decoding_is_refused(folder: Path) -> None:
    task = load(f"folder:{folder};size=16")
    target = folder / "ape" / "0.jpg"
    content = target.read_bytes()
    picture(target, seed=99)
    with pytest.raises(DataError, match=r"0\.jpg was changed while the run was reading it; run again"):
        _ = task.test.inputs
    target.write_bytes(content)
    again = load(f"folder:{folder};size=16")  # nothing of the other picture is in the cache
    assert again.digest == task.digest
    stored = decode.decode_picture(Image.open(target), ImageGeometry(size=16), 3)
    np.testing.assert_array_equal(again.test.inputs[0], stored)


def test_a_picture_with_the_size_and_the_time_of_another_one_is_read_again(folder: Path) -> None:
    target = folder / "ape" / "0.bmp"
    for seed in (1, 2):
        picture(target, seed=seed)
        os.utime(target, ns=(1, 1))
        if seed == 1:
            size, before = target.stat().st_size, load(f"folder:{folder};size=16").digest
    assert target.stat().st_size == size
    assert load(f"folder:{folder};size=16").digest != before


def test_a_full_disk_is_one_clear_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"need 0\.00 GB in .*: No space left on device; free space, or name another"):
        _ = load(f"folder:{folder};size=16").test.inputs


def test_pipes_are_no_pictures(folder: Path) -> None:
    before = load(f"folder:{folder};size=16").digest
    os.mkfifo(folder / "ape" / "z.jpg")
    assert load(f"folder:{folder};size=16").digest == before


def test_numbers_that_can_hardly_be_outputs_are_refused(tmp_path: Path) -> None:
    for number in (9, 10, 11):
        picture(tmp_path / str(number) / "0.png", seed=number)
    with pytest.raises(DataError, match="numbers up to 11, but only 3 of them; say with classes=FILE"):
        load(f"folder:{tmp_path};size=16")


@pytest.mark.parametrize(
    ("content", "reason"), [("[]", "it names no classes"), ('{"ape": 1000000000, "bee": 0}', "without gaps")]
)
def test_class_lists_of_nothing_and_of_a_billion_are_refused(folder: Path, content: str, reason: str) -> None:
    file = folder.parent / "classes.json"
    file.write_text(content)
    with pytest.raises(DataError, match=reason):
        load(f"folder:{folder};size=16;classes={file}")


def test_a_damaged_manifest_is_made_again(folder: Path, cache: str) -> None:
    before = load(f"folder:{folder};size=16").digest
    for manifest in (Path(cache) / "pictures").glob("*.json"):
        manifest.write_text(json.dumps({"ape/0.jpg": [1]}))
    assert load(f"folder:{folder};size=16").digest == before


def test_copied_rows_leave_no_pages_of_the_file_in_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(1 << 24, dtype=np.uint8).reshape(-1, 1 << 12))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    before = resident()
    rows = np.arange(0, len(mapped), 2)
    copied = copy_rows(mapped, rows)
    assert type(copied) is np.ndarray
    assert np.array_equal(copied, np.arange(1 << 24, dtype=np.uint8).reshape(-1, 1 << 12)[rows])
    assert resident() - before < copied.nbytes // 4
    assert np.array_equal(copy_rows(copied, rows[:2]), copied[rows[:2]])


def resident() -> int:
    """Bytes of mapped files in the memory of this process."""
    status = Path("/proc/self/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("RssFile"))
