"""Segmentation tasks of folders and of mirrors in hub layout: pixels, labels, options, and what is refused."""

import os
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.models.segmentation_shape import VOID
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.mask_decoding import MaskFormat
from robustbench_wb.tasks.segmentation import SegmentationDataset
from tests.known import a
from tests.tasks.hub_layout import encode
from tests.tasks.scenes import scene, write_scenes


def load(name: str, data_dir: str | None = None) -> SegmentationDataset:
    return a(SegmentationDataset, find_task(name).load(data_dir))


def test_images_and_masks_of_a_folder_keep_their_pixels(tmp_path: Path) -> None:
    write_scenes(tmp_path, count=3)
    data = load(f"folder-segmentation:{tmp_path};size=16")
    for number in range(3):
        picture, mask = scene(number)
        np.testing.assert_array_equal(data.test.inputs[number], picture.transpose(2, 0, 1))
        np.testing.assert_array_equal(data.test.labels[number], mask)
    assert (data.classes, len(data.train), data.shape.patch, data.shape.stride) == (("0", "1"), 0, 2, 1)


def test_pipes_are_left_out_and_two_masks_of_an_image_are_refused(tmp_path: Path) -> None:
    write_scenes(tmp_path, count=2)
    os.mkfifo(tmp_path / "images" / "z.png")
    assert len(load(f"folder-segmentation:{tmp_path};size=8").test) == 2
    mask = next((tmp_path / "masks").iterdir())
    mask.with_suffix(".bmp").write_bytes(mask.read_bytes())
    with pytest.raises(DataError, match="are masks of one image; remove one of them"):
        load(f"folder-segmentation:{tmp_path};size=8")


def test_splits_and_names_of_classes(tmp_path: Path) -> None:
    write_scenes(tmp_path, count=4, split="training")
    write_scenes(tmp_path, count=2, split="val", first=4)
    (tmp_path / "names.txt").write_text("dark\nbright\nnever\n")
    data = load(f"folder-segmentation:{tmp_path};size=8;classes={tmp_path / 'names.txt'};split=validation")
    assert (len(data.train), len(data.test), data.classes) == (4, 2, ("dark", "bright", "never"))
    other = tmp_path / "other"
    write_scenes(other / "test", count=2)
    assert len(load(f"folder-segmentation:{other};size=8").test) == 2


def test_masks_are_scaled_to_the_pixel_at_each_centre() -> None:
    numbers = np.arange(36).reshape(6, 6).astype(np.uint8)
    found = MaskFormat(size=3, void=7).mask(Image.fromarray(numbers))
    np.testing.assert_array_equal(found, [[VOID, 9, 11], [19, 21, 23], [31, 33, 35]])
    shifted = MaskFormat(size=6, zero_is_void=True).mask(Image.fromarray(numbers))
    np.testing.assert_array_equal(shifted.ravel(), [VOID, *range(35)])
    palette = Image.fromarray(numbers, "P")
    palette.putpalette([0, 0, 0] * 256)
    np.testing.assert_array_equal(MaskFormat(size=6).mask(palette), numbers)
    deep = Image.fromarray(numbers.astype(np.uint16) * 100)
    np.testing.assert_array_equal(MaskFormat(size=6).mask(deep), numbers.astype(np.int16) * 100)
    with pytest.raises(ValueError, match="not a number per pixel"):
        MaskFormat(size=6).mask(Image.new("RGB", (6, 6)))


def test_many_classes_have_one_vector_of_logits_per_patch() -> None:
    shape = MaskFormat(size=128).shape(150)
    assert (shape.patch, shape.stride) == (16, 16)


def test_ade20k_from_a_mirror(tmp_path: Path) -> None:
    """150 classes numbered from 1; 0 does not count."""
    folder = tmp_path / "zhoubolei" / "scene_parse_150" / "data"
    folder.mkdir(parents=True)
    for split, first in (("train", 0), ("validation", 10)):
        pairs = [scene(number, 128) for number in range(first, first + 2)]
        rows = {
            "image": [{"bytes": encode(Image.fromarray(picture)), "path": None} for picture, _ in pairs],
            "annotation": [{"bytes": encode(Image.fromarray(149 * mask + 1)), "path": None} for _, mask in pairs],
        }
        kinds = datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})
        datasets.Dataset.from_dict(rows, features=kinds).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    data = load("ade20k", str(tmp_path))
    assert (len(data.train), len(data.test), data.shape.classes, len(data.classes)) == (2, 2, 150, 150)
    picture, mask = scene(10, 128)
    np.testing.assert_array_equal(data.test.inputs[0], picture.transpose(2, 0, 1))
    np.testing.assert_array_equal(data.test.labels[0], 149 * mask.astype(np.int16))
    assert load("ade20k;size=32", str(tmp_path)).test.inputs.shape == (2, 3, 32, 32)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        find_task("folder-segmentation:nowhere")
    with pytest.raises(DataError, match="no folders 'images' and 'masks'"):
        load(f"folder-segmentation:{tmp_path}")
    write_scenes(tmp_path, count=2)
    with pytest.raises(UsageError, match="size must be at most 1024, not '5000'"):
        find_task(f"folder-segmentation:{tmp_path};size=5000")
    (tmp_path / "masks" / "001.png").unlink()
    with pytest.raises(DataError, match=r"001\.png has no mask"):
        load(f"folder-segmentation:{tmp_path};size=16")
    Image.new("RGB", (16, 16)).save(tmp_path / "masks" / "001.png")
    with pytest.raises(DataError, match="not a number per pixel"):
        load(f"folder-segmentation:{tmp_path};size=16")
