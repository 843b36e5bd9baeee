"""Small models of the digits, honest and fake, by which the credibility grades are tried."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb.tasks.digits import DIGITS
from robustbench_wb.tasks.task import Split

Function = Callable[[Tensor], Tensor]
Body = Callable[[], nn.Module]
Loss = Callable[[Tensor, Tensor], Tensor]


def training_data() -> tuple[Tensor, Tensor]:
    """Training images (N, 1, 8, 8) in [0, 1] and their classes."""
    return _tensors(DIGITS.load(None).train)


def test_data() -> tuple[Tensor, Tensor]:
    """Test images (N, 1, 8, 8) in [0, 1] and their classes."""
    return _tensors(DIGITS.load(None).test)


def _tensors(split: Split) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.asarray(split.inputs)).float() / 255, torch.from_numpy(split.labels.copy())


def trained(
    body: Body,
    *,
    epochs: int = 30,
    noise: float = 0.0,
    radius: float = 0.0,
    seed: int = 0,
    loss: Loss = F.cross_entropy,
) -> nn.Module:
    """A model after training with Adam: on noisy images with ``noise``, on those of PGD-3 with ``radius``."""
    return deepcopy(_trained(body, epochs=epochs, noise=noise, radius=radius, seed=seed, loss=loss))


@cache
def _trained(body: Body, *, epochs: int, noise: float, radius: float, seed: int, loss: Loss) -> nn.Module:
    torch.manual_seed(seed)
    inputs, labels = training_data()
    model = body()
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).tensor_split(len(inputs) // 192):
            images, right = inputs[rows] + noise * torch.randn_like(inputs[rows]), labels[rows]
            start = images.clone()
            for _ in range(3 if radius else 0):
                moved = images.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(loss(model(moved), right), moved)
                images = (start + (images + radius / 2 * gradient.sign() - start).clamp(-radius, radius)).clamp(0, 1)
            optimiser.zero_grad()
            torch.autograd.backward(loss(model(images), right))
            optimiser.step()
    return model.eval()


def mlp(activation: Body = nn.ReLU, *more: nn.Module) -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 96), *more, activation(), nn.Linear(96, 64), activation(), head())


def head() -> nn.Module:
    """Linear map to the classes."""
    return nn.Linear(64, 10)


def cnn(pool: Body = lambda: nn.MaxPool2d(2), activation: Body = nn.ReLU, *, normed: bool = False) -> nn.Module:
    """Two convolutions, each with pooling."""
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32)):
        norm = [nn.BatchNorm2d(after)] if normed else []
        layers += [nn.Conv2d(before, after, 3, padding=1), *norm, activation(), pool()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))


class Residual(nn.Module):
    """Convolutions with residual connections, and a global mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 24, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(24, 24, 3, padding=1) for _ in range(3))
        self.last = nn.Linear(24 * 4, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = self.first(images)
        for block in self.blocks:
            hidden = hidden + block(F.relu(hidden))
        answer: Tensor = self.last(F.adaptive_avg_pool2d(F.relu(hidden), 2).flatten(1))
        return answer


class Neighbours(nn.Module):
    """Classes of the stored images, weighted by their distance; with ``hard`` that of the nearest alone."""

    images: Tensor
    classes: Tensor

    def __init__(self, count: int, *, sharpness: float = 10.0, hard: bool = False) -> None:
        super().__init__()
        inputs, labels = training_data()
        self.register_buffer("images", inputs[:count].flatten(1))
        self.register_buffer("classes", labels[:count])
        self.sharpness, self.hard = sharpness, hard

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        distance = (images.flatten(1)[:, None] - self.images).square().sum(-1)
        if self.hard:
            return F.one_hot(self.classes[distance.argmin(1)], 10).float()
        votes = [-self.sharpness * distance[:, self.classes == number] for number in range(10)]
        return torch.stack([one.logsumexp(1) for one in votes], 1)


class Prototypes(nn.Module):
    """Negative distance to the mean of each class."""

    def __init__(self) -> None:
        super().__init__()
        inputs, labels = training_data()
        self.means = nn.Parameter(torch.stack([inputs[labels == one].flatten(1).mean(0) for one in range(10)]))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return -4 * (images.flatten(1)[:, None] - self.means).square().sum(-1)


class Quadratic(nn.Module):
    """A linear map of the pixels and of their products with their right neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(64 + 56, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        products = images[..., 1:] * images[..., :-1]
        answer: Tensor = self.map(torch.cat([images.flatten(1), products.flatten(1)], 1))
        return answer


class Mean(nn.Module):
    """Mean of the logits of some models, or with ``vote`` the number of models that choose each class."""

    def __init__(self, *models: nn.Module, vote: bool = False) -> None:
        super().__init__()
        self.models, self.vote = nn.ModuleList(models), vote

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        answers = torch.stack([model(images) for model in self.models])
        return F.one_hot(answers.argmax(-1), 10).float().mean(0) if self.vote else answers.mean(0)


class Wrapped(nn.Module):
    """A model with functions before and after it."""

    def __init__(self, inner: nn.Module, before: Function = lambda x: x, after: Function = lambda x: x) -> None:
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.after(self.inner(self.before(images)))


def rounded_weights(model: nn.Module, levels: int) -> nn.Module:
    """The model with weights rounded to so many levels on each side of 0."""
    for weights in model.parameters():
        step = weights.data.abs().max() / levels
        weights.data = (weights.data / step).round() * step
    return model


class Thermometer(nn.Module):
    """Levels of each pixel, steep or hard, before an MLP."""

    def __init__(self, steepness: float) -> None:
        super().__init__()
        self.steepness = steepness
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64 * 7, 96), nn.ReLU(), nn.Linear(96, 10))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        limits = torch.linspace(0.1, 0.9, 7, device=images.device).view(1, 7, 1, 1)
        above = images - limits
        levels = (above > 0).float() if self.steepness == 0 else torch.sigmoid(self.steepness * above)
        answer: Tensor = self.inner(levels)
        return answer


class Noisy(nn.Module):
    """Noise of small deviation on the logits of a model: declared randomness that changes few classes."""

    def __init__(self, inner: nn.Module, deviation: float) -> None:
        super().__init__()
        self.inner, self.deviation = inner, deviation

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        answer: Tensor = self.inner(images)
        return answer + self.deviation * torch.randn_like(answer)


HONEST: Final[dict[str, Body]] = {
    "logistic regression": lambda: trained(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))),
    "MLP, ReLU": lambda: trained(mlp),
    "MLP, tanh": lambda: trained(lambda: mlp(nn.Tanh)),
    "MLP, GELU": lambda: trained(lambda: mlp(nn.GELU)),
    "MLP, leaky ReLU": lambda: trained(lambda: mlp(nn.LeakyReLU)),
    "MLP, sigmoid": lambda: trained(lambda: mlp(nn.Sigmoid)),
    "MLP, layer norm": lambda: trained(lambda: mlp(nn.ReLU, nn.LayerNorm(96))),
    "MLP, dropout": lambda: trained(lambda: mlp(nn.ReLU, nn.Dropout(0.3))),
    "MLP, noise-trained": lambda: trained(mlp, noise=0.2),
    "MLP, adversarially trained": lambda: trained(mlp, radius=16 / 255),
    "MLP, one epoch": lambda: trained(mlp, epochs=1),
    "MLP, untrained": lambda: trained(mlp, epochs=0),
    "MLP, logits of a hundredth": lambda: Wrapped(trained(mlp), after=lambda logits: logits / 100),
    "MLP, logits times five": lambda: Wrapped(trained(mlp), after=lambda logits: 5 * logits),
    # Their classes are those of the model, and the gradient of the margin is right; they blind the cross-entropy alone.
    "logits times 1000": lambda: Wrapped(trained(mlp), after=lambda logits: 1000 * logits),
    "logits times 1000, CNN": lambda: Wrapped(trained(cnn), after=lambda logits: 1000 * logits),
    "MLP, weights in 15 levels": lambda: rounded_weights(trained(mlp), 7),
    "MLP, weights in half precision": lambda: trained(mlp).half().float(),
    "CNN, max pooling": lambda: trained(cnn),
    "CNN, mean pooling": lambda: trained(lambda: cnn(lambda: nn.AvgPool2d(2))),
    "CNN, batch norm": lambda: trained(lambda: cnn(normed=True)),
    "CNN, GELU": lambda: trained(lambda: cnn(activation=nn.GELU)),
    "CNN, leaky ReLU": lambda: trained(lambda: cnn(activation=nn.LeakyReLU)),
    "CNN, residual": lambda: trained(Residual),
    "CNN, adversarially trained": lambda: trained(cnn, radius=24 / 255),
    "CNN, noise-trained": lambda: trained(cnn, noise=0.3),
    "CNN, weights in 31 levels": lambda: rounded_weights(trained(cnn), 15),
    "CNN, blurred input": lambda: Wrapped(trained(cnn), lambda images: F.avg_pool2d(images, 3, 1, 1)),
    "soft nearest neighbour": lambda: Neighbours(400),
    "class means": Prototypes,
    "quadratic features": lambda: trained(Quadratic),
    "mean of three MLPs": lambda: Mean(*(trained(mlp, seed=seed) for seed in range(3))),
    # Its gradient is tiny and right: PGD through softer steps, which is made for it, does not get further (docs).
    "thermometer, steep": lambda: trained(lambda: Thermometer(400)),
    "random logits, small noise": lambda: Noisy(trained(mlp), 0.05),
}
"""Honest models by name; those of the package are added by the benchmark."""
