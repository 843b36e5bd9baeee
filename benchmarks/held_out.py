"""Second zoo of the digits: models that had no part in the design of the credibility grades.

Their labels were fixed before the first of them was graded. A model is fake if by construction every loss that the
headline attack climbs is misled: its gradient is zero, wrong, or drowned in noise of the model. It is honest otherwise,
whatever its logits look like.
"""

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from fakes import with_backward
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import remove_parametrizations
from zoo import Body, Function, Wrapped, cnn, head, mlp, rounded_weights, trained, training_data


def straight_through(change: Function) -> Function:
    """A function whose gradient is that of the identity."""
    return lambda images: images + (change(images) - images).detach()


def levels(count: int) -> Function:
    """Rounding to multiples of 1 / ``count``."""
    return lambda values: (values * count).round() / count


def fourier(images: Tensor) -> Tensor:
    """Images without the high half of their frequencies, whose coefficients are rounded."""
    found = torch.fft.rfft2(images)
    found = torch.complex((found.real / 0.8).round() * 0.8, (found.imag / 0.8).round() * 0.8)
    kept: Tensor = torch.fft.irfft2(found, s=images.shape[-2:])
    return kept


def smoothed(images: Tensor) -> Tensor:
    """Images after ten descent steps on a smooth total variation plus the squared distance."""
    moved = images
    for _ in range(10):
        down, across = (moved.diff(dim=axis) for axis in (2, 3))
        pull_down, pull_across = (step / (step.square() + 0.01).sqrt() for step in (down, across))
        vertical = F.pad(pull_down, (0, 0, 1, 0)) - F.pad(pull_down, (0, 0, 0, 1))
        horizontal = F.pad(pull_across, (1, 0)) - F.pad(pull_across, (0, 1))
        moved = moved - 0.05 * (0.3 * (vertical + horizontal) + moved - images)
    return moved


def median(images: Tensor) -> Tensor:
    """Median of each window of 3 x 3 pixels."""
    windows = F.unfold(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3)
    return windows.median(1).values.view_as(images)


def deflected(images: Tensor) -> Tensor:
    """Images in which a third of the pixels are exchanged for a random one of their neighbours."""
    moved = torch.roll(images, (int(torch.randint(-1, 2, ())), int(torch.randint(-1, 2, ()))), (2, 3))
    return torch.where(torch.rand_like(images) < 0.33, moved, images)


def resized(images: Tensor) -> Tensor:
    """Images shrunk to a random side of 6 to 8 pixels at a random place of a black image of 8 x 8."""
    side = int(torch.randint(6, 9, ()))
    small = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
    top, left = (int(torch.randint(0, 9 - side, ())) for _ in range(2))
    return F.pad(small, (left, 8 - side - left, top, 8 - side - top))


def through_numpy(logits: Tensor) -> Tensor:
    """The logits after a calculation that autograd does not see."""
    return torch.from_numpy(np.asarray(logits.detach().cpu())).to(logits)


def ranks(logits: Tensor) -> Tensor:
    """Rank of each class."""
    return logits.argsort(1).argsort(1).float()


def of_other_classes(logits: Tensor) -> Tensor:
    """The logits, each with the gradient of another class."""
    other = logits.roll(3, 1)
    return logits.detach() + other - other.detach()


class SigmoidAttention(nn.Module):
    """A block of attention on patches of 2 x 2, whose weights are sigmoids."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Conv2d(1, 24, 2, stride=2), nn.Linear(24, 72)
        self.place = nn.Parameter(0.1 * torch.randn(16, 24))
        self.last = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 10))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.place
        query, key, value = self.mix(tokens).chunk(3, -1)
        weights = torch.sigmoid(query @ key.transpose(1, 2) / 24**0.5 - np.log(16))
        answer: Tensor = self.last((tokens + weights @ value).mean(1))
        return answer


class Gaussians(nn.Module):
    """A linear map of Gaussian bumps around stored images."""

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", training_data()[0][:200].flatten(1))
        self.last = nn.Linear(200, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        distance = (images.flatten(1)[:, None] - self.centres).square().sum(-1)
        answer: Tensor = self.last((-distance / 8).exp())
        return answer


class Maxout(nn.Module):
    """The larger of two linear maps, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(64, 160), nn.Linear(80, 96), nn.Linear(48, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = images.flatten(1)
        for layer in (self.first, self.second):
            hidden = layer(hidden).unflatten(1, (-1, 2)).amax(2)
        answer: Tensor = self.last(hidden)
        return answer


class Depth(nn.Module):
    """Residual layers that are left out at random, also after training."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.first, self.last, self.share = nn.Linear(64, 64), head(), share
        self.blocks = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = self.first(images.flatten(1))
        for block in self.blocks:
            kept = torch.rand(len(hidden), 1, device=hidden.device) >= self.share
            hidden = hidden + kept * block(F.relu(hidden))
        answer: Tensor = self.last(hidden)
        return answer


class HiddenNoise(nn.Module):
    """Noise on the hidden values of an MLP, also after training."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.first, self.last, self.deviation = nn.Linear(64, 96), nn.Linear(96, 10), deviation

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = F.relu(self.first(images.flatten(1)))
        answer: Tensor = self.last(hidden + self.deviation * torch.randn_like(hidden))
        return answer


class Binary(nn.Module):
    """Hidden values of 0 and 1: the positive ones are 1, or with ``keep`` the largest ones.

    Training passes the gradient of a sigmoid.
    """

    def __init__(self, keep: int = 0) -> None:
        super().__init__()
        self.first, self.last, self.keep = nn.Linear(64, 256), nn.Linear(256, 10), keep

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = self.first(images.flatten(1))
        limit = hidden.topk(self.keep, dim=1).values[:, -1:] if self.keep else torch.zeros_like(hidden)
        hard, soft = (hidden >= limit).float(), torch.sigmoid(hidden - limit)
        answer: Tensor = self.last(hard + soft - soft.detach() if self.training else hard)
        return answer


class Stumps(nn.Module):
    """A linear map of comparisons of single pixels with thresholds, as trees make them."""

    pixels: Tensor
    limits: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pixels", torch.randint(0, 64, (600,)))
        self.register_buffer("limits", torch.rand(600))
        self.last = nn.Linear(600, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        answer: Tensor = self.last((images.flatten(1)[:, self.pixels] > self.limits).float())
        return answer


class Nearest(nn.Module):
    """Votes of the five nearest stored images."""

    images: Tensor
    classes: Tensor

    def __init__(self) -> None:
        super().__init__()
        inputs, labels = training_data()
        self.register_buffer("images", inputs.flatten(1))
        self.register_buffer("classes", labels)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        nearest = torch.cdist(images.flatten(1), self.images).topk(5, largest=False).indices
        return F.one_hot(self.classes[nearest], 10).float().mean(1)


class Guarded(nn.Module):
    """A model that answers rough images by their blurred version, whose gradient is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = trained(cnn, seed=11)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        rough = (images - F.avg_pool2d(images, 3, 1, 1)).abs().flatten(1).mean(1, keepdim=True) > 0.02
        blurred = self.inner(F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)).detach()
        answer: Tensor = torch.where(rough, blurred, self.inner(images))
        return answer


class Rippled(nn.Module):
    """An MLP with fast ripples on its hidden values after training."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = trained(mlp, seed=12)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = images
        for number, layer in enumerate(self.inner.children()):
            hidden = layer(hidden)
            hidden = hidden + 0.2 * torch.sin(5e3 * hidden) if number == 1 else hidden
        return hidden


def spectral() -> nn.Module:
    """An MLP whose linear maps have spectral norm 1, after a scale of the input."""

    def body() -> nn.Module:
        first, second, last = nn.Linear(64, 96), nn.Linear(96, 64), head()
        layers = (spectral_norm(first), nn.ReLU(), spectral_norm(second), nn.ReLU(), spectral_norm(last))
        return Wrapped(nn.Sequential(nn.Flatten(), *layers), lambda images: 20 * images)

    model = trained(body, seed=2)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            remove_parametrizations(layer, "weight")
    return model


def distilled() -> nn.Module:
    """An MLP after training at temperature 100, evaluated at temperature 1 as in defensive distillation."""
    model = trained(lambda: Wrapped(mlp(), after=lambda logits: logits / 100), seed=3, epochs=60)
    return Wrapped(model.inner)  # type: ignore[arg-type]


def of_components(count: int) -> Function:
    """Projection of the images onto their largest principal components."""
    axes = torch.linalg.svd(training_data()[0].flatten(1), full_matrices=False)[2][:count]
    return lambda images: (images.flatten(1) @ axes.to(images).T @ axes.to(images)).view_as(images)


def strided() -> nn.Module:
    """Strided convolutions with ELU, and no pooling."""
    layers = (nn.Conv2d(1, 16, 3, 2, 1), nn.ELU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ELU())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))


def smooth_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with 30 % of the weight on all classes."""
    return F.cross_entropy(logits, labels, label_smoothing=0.3)


HELD_OUT_HONEST: Final[dict[str, Body]] = {
    "MLP, Swish": lambda: trained(lambda: mlp(nn.SiLU), seed=1),
    "MLP, spectral norms": spectral,
    "linear SVM": lambda: trained(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), loss=F.multi_margin_loss, seed=4
    ),
    "maxout": lambda: trained(Maxout, seed=4),
    "CNN, strided": lambda: trained(strided, seed=5),
    "CNN, labels smoothed": lambda: trained(cnn, loss=smooth_labels, seed=5),
    "CNN, weights in 8 bits": lambda: rounded_weights(trained(cnn, seed=6), 127),
    "CNN, median filter": lambda: Wrapped(trained(cnn, seed=6), median),
    "CNN, total variation": lambda: Wrapped(trained(cnn, seed=6), smoothed),
    "attention by sigmoids": lambda: trained(SigmoidAttention, epochs=60, seed=7),
    "Gaussian bumps": lambda: trained(Gaussians, epochs=60, seed=7),
    "16 principal components": lambda: Wrapped(trained(mlp, seed=8), of_components(16)),
    "distilled at temperature 100": distilled,
    "logits times twenty": lambda: Wrapped(trained(mlp, seed=8), after=lambda logits: 20 * logits),
    "logits of a millionth": lambda: Wrapped(trained(cnn, seed=8), after=lambda logits: 1e-6 * logits),
    "log of the probabilities": lambda: Wrapped(trained(cnn, seed=9), after=lambda logits: logits.log_softmax(1)),
    "input in 8 levels, straight through": lambda: Wrapped(trained(mlp, seed=9), straight_through(levels(7))),
    "Fourier rounding, straight through": lambda: Wrapped(trained(cnn, seed=9), straight_through(fourier)),
    "layers left out, 1 %": lambda: trained(lambda: Depth(0.01), seed=10),
    "hidden noise, small": lambda: trained(lambda: HiddenNoise(0.02), seed=10),
}
"""Honest models by name."""

HELD_OUT_FAKES: Final[dict[str, Body]] = {
    "bit depth 3, CNN": lambda: Wrapped(trained(cnn, seed=1), levels(7)),
    "Fourier rounding": lambda: Wrapped(trained(mlp, seed=2), fourier),
    "hard gate of the input": lambda: Wrapped(
        trained(mlp, noise=0.1, seed=3), lambda images: (1000 * (images - 0.5) + 0.5).clamp(0, 1)
    ),
    "binary hidden values": lambda: trained(Binary, seed=4),
    "largest hidden values in binary": lambda: trained(lambda: Binary(40), seed=4),
    "stumps": lambda: trained(Stumps, seed=5),
    "five nearest neighbours": Nearest,
    "ranks of the classes": lambda: Wrapped(trained(cnn, seed=5), after=ranks),
    "through NumPy": lambda: Wrapped(trained(cnn, seed=6), after=through_numpy),
    "probabilities at temperature 1/30": lambda: Wrapped(
        trained(mlp, seed=6), after=lambda logits: (30 * logits).softmax(1)
    ),
    "gradient at random": lambda: with_backward(torch.randn_like),
    "gradient of other classes": lambda: Wrapped(trained(cnn, seed=7), after=of_other_classes),
    "guard against rough images": Guarded,
    "ripples on hidden values": Rippled,
    "layers left out, half": lambda: trained(lambda: Depth(0.5), seed=8),
    "hidden noise, large": lambda: trained(lambda: HiddenNoise(2.0), seed=8),
    "pixel deflection": lambda: Wrapped(trained(cnn, noise=0.1, seed=9), deflected),
    "random resizing": lambda: Wrapped(trained(cnn, seed=9), resized),
}
"""Fake defences by name."""
