"""Fake defences of the digits: models that make attacks fail without being robust."""

from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import Body, Mean, Neighbours, Thermometer, Wrapped, cnn, mlp, trained, training_data


class Backward(torch.autograd.Function):
    """The identity, whose gradient a function changes."""

    @staticmethod
    def forward(context: Any, images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the images."""
        context.change = change
        return images.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The changed gradient."""
        return context.change(gradient), None


def with_backward(change: Callable[[Tensor], Tensor], body: Body = mlp) -> nn.Module:
    """A trained model with another gradient."""
    return Wrapped(trained(body), lambda images: Backward.apply(images, change))  # type: ignore[no-untyped-call]


def staircase(levels: int) -> Callable[[Tensor], Tensor]:
    """Rounding to some levels."""
    return lambda images: (images * levels).round() / levels


def cosines() -> Tensor:
    """Orthonormal cosine transform of 8 values."""
    places = torch.arange(8.0)
    matrix = torch.cos((2 * places + 1) * places[:, None] * torch.pi / 16) / 2
    matrix[0] /= 2**0.5
    return matrix


def jpeg(images: Tensor) -> Tensor:
    """Rounded cosine coefficients, as JPEG of grey images has."""
    transform = cosines().to(images)
    coefficients = transform @ images @ transform.T
    steps = 0.1 * (1 + torch.arange(8.0) + torch.arange(8.0)[:, None]).to(images)
    return transform.T @ ((coefficients / steps).round() * steps) @ transform


def shifted(images: Tensor) -> Tensor:
    """A random shift by up to one pixel, of each image."""
    padded, moves = F.pad(images, (1, 1, 1, 1)), torch.randint(0, 3, (len(images), 2)).tolist()
    return torch.stack([one[:, y : y + 8, x : x + 8] for one, (y, x) in zip(padded, moves, strict=True)])


class Detached(nn.Module):
    """A model whose gradient is that of another, weak one."""

    def __init__(self) -> None:
        super().__init__()
        self.strong, self.weak = trained(mlp), trained(mlp, epochs=0, seed=1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        answer: Tensor = self.strong(images.detach()) + 0.01 * self.weak(images)
        return answer


class Winners(nn.Module):
    """Only the largest of many hidden values stay (k-winners-take-all)."""

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.first, self.last, self.keep = nn.Linear(64, 512), nn.Linear(512, 10), keep

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = self.first(images.flatten(1))
        limit = hidden.topk(self.keep, dim=1).values[:, -1:]
        answer: Tensor = self.last(torch.where(hidden >= limit, hidden, torch.zeros_like(hidden)))
        return answer


class Rounded(nn.Module):
    """An MLP whose hidden values are rounded to multiples of a step."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.inner, self.step = trained(mlp), step

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = images
        for layer in self.inner.children():
            hidden = layer(hidden)
            hidden = (hidden / self.step).round() * self.step if isinstance(layer, nn.ReLU) else hidden
        return hidden


class Lookup(nn.Module):
    """The answer of a model to the nearest stored image."""

    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = trained(mlp)
        self.register_buffer("images", training_data()[0][:600].flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        nearest = self.images[torch.cdist(images.flatten(1), self.images).argmin(1)]
        answer: Tensor = self.inner(nearest.view_as(images))
        return answer


class Suspicious(nn.Module):
    """Constant logits whenever somebody asks for a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = trained(mlp)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        answer: Tensor = self.inner(images)
        return answer.detach() + 0 * answer if images.requires_grad else answer


class Written(nn.Module):
    """Rounds the given images in place, behind the back of autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = trained(mlp)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        images = images.clone()
        images.data = (images.data * 6).round() / 6
        answer: Tensor = self.inner(images)
        return answer


def shattered(images: Tensor) -> Tensor:
    """Images with a pattern that changes its sign with the smallest move."""
    return images + 0.05 * torch.sin(1e4 * images)


FAKES: Final[dict[str, Body]] = {
    "input in 6 levels": lambda: Wrapped(trained(mlp), staircase(6)),
    "input in 6 levels, CNN": lambda: Wrapped(trained(cnn), staircase(6)),
    "input in 2 levels": lambda: Wrapped(trained(mlp, noise=0.2), lambda images: (images > 0.5).float()),
    "input in 40 levels": lambda: Wrapped(trained(mlp), staircase(40)),
    "thermometer, hard": lambda: trained(lambda: Thermometer(0)),
    "JPEG": lambda: Wrapped(trained(mlp), jpeg),
    "JPEG, CNN": lambda: Wrapped(trained(cnn), jpeg),
    "saturated tanh": lambda: Wrapped(trained(mlp), after=lambda logits: torch.tanh(20 * logits)),
    "log-softmax, cut off": lambda: Wrapped(
        trained(mlp), after=lambda logits: F.log_softmax(20 * logits, 1).clamp(min=-30)
    ),
    "logits cut off": lambda: Wrapped(trained(mlp), after=lambda logits: logits.clamp(-1, 1)),
    "probabilities": lambda: Wrapped(trained(mlp), after=lambda logits: logits.softmax(1)),
    "log of rounded probabilities": lambda: Wrapped(
        trained(mlp), after=lambda logits: (logits.softmax(1) * 20).round().add(0.01).log()
    ),
    "class as one-hot": lambda: Wrapped(trained(mlp), after=lambda logits: F.one_hot(logits.argmax(1), 10).float()),
    "gradient of a weak branch": Detached,
    "gradient with noise": lambda: with_backward(
        lambda gradient: gradient + 20 * gradient.abs().mean() * torch.randn_like(gradient)
    ),
    "gradient with noise, CNN": lambda: with_backward(
        lambda gradient: gradient + 20 * gradient.abs().mean() * torch.randn_like(gradient), cnn
    ),
    "gradient of the other sign": lambda: with_backward(torch.neg),
    "gradient, pixels exchanged": lambda: with_backward(lambda gradient: gradient.flip(2, 3)),
    "gradient of zero": lambda: with_backward(torch.zeros_like),
    "gradient of 1e-14": lambda: with_backward(lambda gradient: 1e-14 * gradient),
    "gradient of half of the pixels": lambda: with_backward(
        lambda gradient: gradient * (torch.arange(8) < 4).to(gradient)
    ),
    "random shift": lambda: Wrapped(trained(cnn), shifted),
    "noisy input": lambda: Wrapped(trained(mlp, noise=0.2), lambda images: images + 0.2 * torch.randn_like(images)),
    "random levels": lambda: Wrapped(
        trained(mlp, noise=0.2), lambda images: (images * 6 + torch.rand_like(images)).floor() / 6
    ),
    "k winners": lambda: trained(lambda: Winners(25)),
    "k winners, few": lambda: trained(lambda: Winners(6)),
    "hidden values rounded": lambda: Rounded(0.5),
    "hidden values rounded finely": lambda: Rounded(0.02),
    "nearest stored image": lambda: Neighbours(600, hard=True),
    "answer of the nearest stored image": Lookup,
    "vote of five MLPs": lambda: Mean(*(trained(mlp, seed=seed) for seed in range(5)), vote=True),
    "constant if a gradient is asked": Suspicious,
    "writes to its input": Written,
    "shattered": lambda: Wrapped(trained(mlp), shattered),
}
"""Fake defences by name."""
