"""Geometry of library models: our decoded pictures are those that the library's own preprocessing makes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robustbench_wb.errors import SubjectError, UsageError
from robustbench_wb.models.image_geometry import ImageGeometry
from robustbench_wb.models.providers import library
from robustbench_wb.models.providers.geometry import model_geometry
from robustbench_wb.tasks.pictures.decode import decode_picture

SIZES = ((500, 333), (333, 500), (224, 224), (640, 481))


def pictures() -> list[Image.Image]:
    levels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    return [Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC) for size in SIZES]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_tiny_patch16_224", ImageGeometry(size=224, resize=248, interpolation="bicubic")),
        ("resnet18", ImageGeometry(size=224, resize=235, interpolation="bicubic")),
        ("deit3_small_patch16_384", ImageGeometry(size=384, resize=384, interpolation="bicubic")),
        ("convnext_tiny.fb_in22k_ft_in1k_384", ImageGeometry(size=384, interpolation="bicubic", crop="squash")),
    ],
)
def test_a_model_of_timm_has_its_own_pixels(name: str, expected: ImageGeometry) -> None:
    timm = library.load_library("timm", "timm")
    geometry = model_geometry(f"timm:{name};pretrained=false")
    assert geometry == expected
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    transform = timm.data.create_transform(**{**config, "mean": (0, 0, 0), "std": (1, 1, 1)})
    for shown in pictures():
        expected_levels = (transform(shown).numpy() * 255).round().astype(np.uint8)
        assert np.array_equal(decode_picture(shown, geometry, 3), expected_levels)


def save(folder: Path, processor: Any) -> str:
    """A folder of transformers with a configuration and an image processor."""
    transformers = library.load_library("transformers", "hf")
    transformers.ViTConfig(image_size=32, num_hidden_layers=1).save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"hf:{folder}"


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("ViTImageProcessor", {"size": {"height": 48, "width": 48}}, {"size": 48, "crop": "squash"}),
        (
            "CLIPImageProcessor",
            {"size": {"shortest_edge": 64}, "crop_size": {"height": 48, "width": 48}},
            {"size": 48, "resize": 64, "interpolation": "bicubic"},
        ),
        (
            "ConvNextImageProcessor",
            {"size": {"shortest_edge": 48}, "crop_pct": 0.875},
            {"size": 48, "resize": 54, "interpolation": "bicubic"},
        ),
    ],
)
def test_a_model_of_transformers_has_its_own_pixels(
    tmp_path: Path, kind: str, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    transformers = library.load_library("transformers", "hf")
    made = getattr(transformers, kind)(**options, do_normalize=False)
    geometry = model_geometry(save(tmp_path, made))
    assert geometry == ImageGeometry.model_validate(expected)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    for shown in pictures()[:3]:  # where half a pixel is to be cut, transformers rounds down and torchvision to even
        own = np.asarray(processor(shown, return_tensors="np")["pixel_values"][0])
        levels = decode_picture(shown, geometry, 3)
        assert levels.shape == own.shape
        assert np.abs(levels - (own * 255).round()).max() <= 1


def test_what_is_no_square_is_refused(tmp_path: Path) -> None:
    transformers = library.load_library("transformers", "hf")
    wide = transformers.ViTImageProcessor(size={"height": 32, "width": 64})
    with pytest.raises(SubjectError, match=r"give the task its geometry, like 'folder:DIR;size=224"):
        model_geometry(save(tmp_path, wide))


def test_other_models_have_no_geometry() -> None:
    assert model_geometry("vit") is None
    assert model_geometry("mine.py:make") is None
    with pytest.raises(UsageError, match="cannot be loaded"):
        model_geometry("timm:no_such_model")
