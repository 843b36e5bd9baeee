"""Image models as functions of normalised images, for protocols that perturb after normalisation."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.providers.image_model import ImageModel


@dataclass(frozen=True, eq=False)
class NormalisedImageModel:
    """Model as a function of normalised images ``(x - mean) / std`` with x in [0, 1]; both moments are (C, 1, 1)."""

    model: nn.Module
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, model: nn.Module, images: Tensor) -> Self:
        """Wrap a model that takes ``images`` (N, C, H, W).

        Raises:
            MeasurementError: the model's normalisation is unknown, or does more than scale and shift each pixel.
        """
        if not isinstance(model, ImageClassifier | ImageModel):
            raise MeasurementError(
                f"the normalisation inside {type(model).__name__} is unknown, so images cannot be perturbed after it; "
                "use a registered variant, or a model from timm: or hf:"
            )
        if isinstance(model, ImageModel) and images.shape[1:] != (model.channels, *model.size):
            own, given = (" x ".join(map(str, size)) for size in ((model.channels, *model.size), images.shape[1:]))
            raise MeasurementError(
                f"the model resizes or expands images of {given} to {own}, so the normalised image has another shape; "
                "use a model whose input has the size of the images"
            )
        return cls(model, model.mean[:, None, None], model.std[:, None, None])

    def enter(self, images: Tensor) -> Tensor:
        """Normalise images (B, C, H, W) in [0, 1]."""
        return (images - self.mean) / self.std

    def leave(self, normalised: Tensor) -> Tensor:
        """Map normalised images back to pixels, without clamping them to [0, 1]."""
        return normalised * self.std + self.mean

    def logits(self, normalised: Tensor) -> Tensor:
        """Return logits (B, classes) of normalised images (B, C, H, W)."""
        answer: Tensor = self.model(self.leave(normalised))
        return answer
