"""An image model seen from behind its own normalisation: some protocols perturb there."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.providers.pictures import Pictures


@dataclass(frozen=True, eq=False)
class Normalised:
    """A model of normalised images ``(x - mean) / std``; ``mean`` and ``std`` are (C, 1, 1), of images in [0, 1]."""

    model: nn.Module
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, model: nn.Module, images: Tensor) -> Self:
        """The view of a model that takes ``images`` (N, C, H, W).

        Raises:
            MeasurementError: its normalisation is not known, or does something else than scale and shift each pixel.
        """
        if not isinstance(model, ImageClassifier | Pictures):
            raise MeasurementError(
                f"the normalisation inside {type(model).__name__} is not known, so images cannot be perturbed behind "
                "it; name a registered variant, or a model of timm: or hf:"
            )
        if isinstance(model, Pictures) and images.shape[1:] != (model.channels, *model.size):
            own, given = (" x ".join(map(str, size)) for size in ((model.channels, *model.size), images.shape[1:]))
            raise MeasurementError(
                f"the model resizes or colours images of {given} to {own}, so the normalised image has another shape"
            )
        return cls(model, model.mean[:, None, None], model.std[:, None, None])

    def enter(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to normalised ones."""
        return (images - self.mean) / self.std

    def leave(self, normalised: Tensor) -> Tensor:
        """Normalised images to pixels, of any value: nothing is clamped."""
        return normalised * self.std + self.mean

    def logits(self, normalised: Tensor) -> Tensor:
        """Logits (B, classes) of normalised images."""
        answer: Tensor = self.model(self.leave(normalised))
        return answer
