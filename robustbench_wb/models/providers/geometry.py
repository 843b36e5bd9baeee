"""Geometry of the images that a library's model was trained on, from the library's configuration of the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from robustbench_wb.errors import SubjectError, UsageError, first_line
from robustbench_wb.models.image_geometry import ImageGeometry, Interpolation
from robustbench_wb.models.providers import library

_PILLOW: Final[Mapping[int, Interpolation]] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_CONVNEXT_CROPS_BELOW: Final = 384
"""From this size on, image processors with a crop fraction scale both sides and do not crop."""


def model_geometry(reference: str) -> ImageGeometry | None:
    """Geometry of a model of timm or transformers; None for any other model, and for a model of texts.

    Raises:
        UsageError: the library is not installed, or the configuration of the model cannot be read or asks for
            something else than scaling and cropping to a square.
    """
    prefix, found, rest = reference.partition(":")
    name = rest.partition(";")[0]
    if not found or ".py:" in reference:
        return None
    if prefix == "timm":
        return _of_timm(name)
    return _of_transformers(name) if prefix == "hf" else None


def _of_timm(name: str) -> ImageGeometry:
    timm = library.load_library("timm", "timm")
    folder = Path(name.removeprefix("local-dir:")).expanduser()
    if folder.is_dir() and not timm.is_model(name):
        name = f"local-dir:{folder.resolve()}"
    elif "/" in name and not name.startswith("hf-hub:"):
        name = f"hf-hub:{name}"
    try:
        if name.startswith(("local-dir:", "hf-hub:")):
            config = dict(timm.models.resolve_model_input_args(name)["pretrained_cfg"])
        else:
            found = timm.get_pretrained_cfg(name)
            config = {} if found is None else dict(found.to_dict())
        data = timm.data.resolve_data_config({}, pretrained_cfg=config)
    except Exception as error:
        raise UsageError(f"timm:{name} cannot be loaded: {first_line(error)}") from error
    _, height, width = data["input_size"]
    mode = data.get("crop_mode") or "center"
    if height != width or mode not in ("center", "squash"):
        raise _unsupported(f"timm:{name}", f"{height}x{width}, crop mode {mode}")
    return ImageGeometry(
        size=height,
        resize=None if mode == "squash" else int(height / data["crop_pct"]),
        interpolation="bicubic" if data["interpolation"] == "random" else data["interpolation"],
        crop=mode,
    )


def _of_transformers(name: str) -> ImageGeometry | None:
    transformers = library.load_library("transformers", "hf")
    folder = Path(name).expanduser()
    name = str(folder.resolve()) if folder.is_dir() else name
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        if hasattr(config, "vocab_size") and not hasattr(config, "image_size"):
            return None
        processor = transformers.AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)
    except Exception as error:
        raise UsageError(f"hf:{name} has no image processor that can be loaded: {first_line(error)}") from error
    return _of_processor(processor, f"hf:{name}")


def _of_processor(processor: Any, reference: str) -> ImageGeometry:
    """Geometry of an image processor, whose attribute ``size`` names two sides or the shorter one."""
    interpolation = _PILLOW.get(int(getattr(processor, "resample", 2)))
    size = dict(getattr(processor, "size", None) or {})
    cut = dict(getattr(processor, "crop_size", None) or {}) if getattr(processor, "do_center_crop", False) else {}
    shorter, fraction = size.get("shortest_edge"), getattr(processor, "crop_pct", None)
    if (
        interpolation is None
        or len({size.get("height"), size.get("width")}) > 1
        or cut.get("height") != cut.get("width")
    ):
        raise _unsupported(reference, f"size {size}, crop {cut}, filter {getattr(processor, 'resample', None)}")
    if shorter and cut:
        return ImageGeometry(size=cut["height"], resize=shorter, interpolation=interpolation)
    if shorter and fraction and shorter < _CONVNEXT_CROPS_BELOW:
        return ImageGeometry(size=shorter, resize=int(shorter / fraction), interpolation=interpolation)
    side = shorter or size.get("height")
    if not side or (cut and cut["height"] != side):
        raise _unsupported(reference, f"size {size}, crop {cut}")
    return ImageGeometry(size=side, interpolation=interpolation, crop="squash")


def _unsupported(reference: str, what: str) -> SubjectError:
    return SubjectError(
        f"{reference} was trained on images of another kind ({what}); give the task its geometry, like "
        "'folder:DIR;size=224;resize=256;interpolation=bicubic'"
    )
