"""Decoding of images: modes, sizes, damaged files, and the quality of JPEG copies."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.image_decoding import MIXED_SIZE, decode_splits, lossy_suffix
from tests.tasks.hub_layout import encode, noise, rows


def of(*pictures: Image.Image) -> Any:
    return rows([encode(picture) for picture in pictures], [0] * len(pictures), ["a"])


def decoded(*splits: Any) -> list[np.ndarray]:
    return decode_splits(splits, image="image", name="toy")


def test_grey_and_colour_keep_every_level() -> None:
    grey, colour = noise("L", 0, (5, 3)), noise("RGB", 1, (5, 3))
    (images,) = decoded(of(grey, grey))
    assert images.shape == (2, 1, 3, 5)
    assert images.dtype == np.uint8
    assert images.flags.c_contiguous
    assert (images[0, 0] == np.asarray(grey)).all()
    (images,) = decoded(of(colour))
    assert images.shape == (1, 3, 3, 5)
    assert (images[0].transpose(1, 2, 0) == np.asarray(colour)).all()


def test_grey_among_colour_is_spread_over_three_channels_and_not_resized() -> None:
    grey, colour = noise("L", 0), noise("RGB", 1)
    for splits in ((of(grey, colour),), (of(grey), of(colour))):
        images = np.concatenate(decoded(*splits))
        assert images.shape == (2, 3, 8, 8)
        assert (images[0] == np.asarray(grey)).all()
        assert (images[1].transpose(1, 2, 0) == np.asarray(colour)).all()


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK", "1", "LA"])
def test_other_modes(mode: str) -> None:
    grey = mode in ("1", "LA")
    picture = noise("L" if grey else "RGB", 2).convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    (images,) = decoded(rows([encode(picture, kind)], [0], ["a"]))
    expected = np.asarray(picture.convert("L" if grey else "RGB"))
    assert images.shape == (1, 1 if grey else 3, 8, 8)
    assert (images[0].transpose(1, 2, 0).squeeze() == expected).all()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_mixed_sizes_are_brought_to_one_square(mode: str) -> None:
    wide, tall, large = noise(mode, 0, (20, 10)), noise(mode, 1, (10, 33)), noise(mode, 2, (200, 100))
    for splits in ((of(wide, tall, large),), (of(wide, wide), of(large))):
        for images in decoded(*splits):
            assert images.shape[1:] == (len(mode), MIXED_SIZE, MIXED_SIZE)
    (images,) = decoded(of(large, wide))
    middle = large.resize((128, 64), Image.Resampling.BILINEAR).crop((32, 0, 96, 64))
    assert (images[0].transpose(1, 2, 0).squeeze() == np.asarray(middle)).all()


def test_sixteen_bits_are_refused_rather_than_clipped() -> None:
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    with pytest.raises(DataError, match=r"image 1 of split .* mode I;16 is not 8 bits"):
        decoded(of(noise("L", 0), deep))


def test_a_missing_picture_is_named() -> None:
    with pytest.raises(DataError, match=r"toy: image 1 of split .* is missing"):
        decoded(rows([encode(noise("L", 0)), None], [0, 0], ["a"]))


GOOD = {
    "PNG": encode(noise("RGB", 3, (16, 16))),
    "JPEG": encode(noise("RGB", 3, (16, 16)), "JPEG"),
    "GIF": encode(noise("L", 3, (16, 16)), "GIF"),
    "BMP": encode(noise("L", 3, (16, 16)), "BMP"),
    "TIFF": encode(noise("L", 3, (16, 16)), "TIFF", compression="tiff_adobe_deflate"),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_damaged_bytes_decode_or_end_in_one_clear_error(kind: str, data: st.DataObject) -> None:
    broken = bytearray(GOOD[kind])
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(broken)))
    message = ""
    try:
        decoded(rows([GOOD["PNG"], bytes(broken[:cut])], [0, 0], ["a"]))
    except DataError as error:
        message = str(error)
    assert message == "" or "image 1 of split" in message
    assert "\n" not in message


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 100), st.sampled_from(["L", "RGB"]), st.sampled_from([0, 2]))
def test_jpeg_quality_is_read_from_the_tables(quality: int, mode: str, subsampling: int) -> None:
    picture = encode(noise(mode, 5), "JPEG", quality=quality, subsampling=subsampling)
    assert lossy_suffix(rows([picture], [0], ["a"]), "image") == f"-jpeg{quality}"


@pytest.mark.parametrize("quality", [1, 2, 49, 50, 75, 98, 99, 100])
def test_jpeg_qualities_at_the_edges(quality: int) -> None:
    picture = encode(noise("RGB", 5), "JPEG", quality=quality)
    assert lossy_suffix(rows([picture], [0], ["a"]), "image") == f"-jpeg{quality}"


def test_jpeg_with_tables_of_its_own() -> None:
    picture = encode(noise("L", 5), "JPEG", qtables=[list(range(1, 65))])
    assert lossy_suffix(rows([picture], [0], ["a"]), "image") == "-jpeg"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_have_no_suffix(kind: str) -> None:
    assert lossy_suffix(rows([encode(noise("L", 5), kind)], [0], ["a"]), "image") == ""


def test_webp_is_named() -> None:
    assert lossy_suffix(rows([encode(noise("RGB", 5), "WEBP")], [0], ["a"]), "image") == "-webp"


def test_the_estimator_reads_natural_order() -> None:
    """Pillow returns quantisation tables row by row, on which the estimate of the quality relies."""
    with Image.open(io.BytesIO(encode(noise("L", 5), "JPEG", quality=50))) as picture:
        assert list(vars(picture)["quantization"][0][:8]) == [16, 11, 10, 16, 24, 40, 51, 61]
