"""How pictures of any size become the images of a task. This module does not import torch."""

from typing import Literal

from pydantic import Field

from robustbench_wb.spec import Spec

Crop = Literal["center", "squash"]
"""``center`` scales the shorter side and cuts out the middle; ``squash`` scales both sides to the size."""
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class ImageGeometry(Spec):
    """Square size of the images of a task, and how pictures are scaled and cropped to it before any perturbation."""

    size: int = Field(ge=1, le=4096)
    """Side of an image in pixels."""
    resize: int | None = Field(default=None, ge=1, le=8192)
    """Pixels of the shorter side after scaling and before the crop; None: ``size``. Unused by ``squash``."""
    interpolation: Interpolation = "bilinear"
    """Filter of the scaling, as Pillow names it; all of them smooth when a picture shrinks, except ``nearest``."""
    crop: Crop = "center"

    @property
    def text(self) -> str:
        """The geometry as options of a task, like ``;size=224;resize=256;interpolation=bicubic``."""
        parts = [f"size={self.size}"]
        if self.crop == "squash":
            parts.append("crop=squash")
        elif self.resize is not None and self.resize != self.size:
            parts.append(f"resize={self.resize}")
        return "".join(f";{part}" for part in (*parts, f"interpolation={self.interpolation}"))
