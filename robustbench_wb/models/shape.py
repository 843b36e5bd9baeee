"""What an image task asks of a model: the shape of its images, the number of classes, the patch."""

from pydantic import Field

from robustbench_wb.spec import Spec


class ImageShape(Spec):
    """Images of ``channels`` x ``height`` x ``width`` pixels in squares of ``patch``; ``classes`` labels."""

    channels: int = Field(gt=0)
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    classes: int = Field(gt=0)
    patch: int = Field(gt=0)

    @property
    def patches(self) -> int:
        """How many whole patches fit into one image."""
        return (self.height // self.patch) * (self.width // self.patch)

    @property
    def patch_values(self) -> int:
        """How many numbers one patch holds."""
        return self.channels * self.patch * self.patch
