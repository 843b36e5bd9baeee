"""Projection of a whole sample to the unit sphere, as the features of rate reduction have it."""

from torch import Tensor, nn


class SphereNorm(nn.Module):
    """All features of a sample, (N, d), divided by their Euclidean norm, which is at least 1e-8."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the stream (B, N, d) with samples of unit length."""
        unit: Tensor = x / x.flatten(1).norm(dim=1).clamp(min=1e-8)[:, None, None]
        return unit


def use_sphere_norms(model: nn.Module) -> None:
    """Replace every layer norm of a model by the projection to the unit sphere."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.LayerNorm):
                setattr(module, name, SphereNorm())
