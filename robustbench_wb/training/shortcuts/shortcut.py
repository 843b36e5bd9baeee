"""Base classes of shortcut baselines: classifiers of token ids, fitted in closed form or by convex optimisation."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor, nn

from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.task import Split

CHUNK = 1024
"""Samples whose features are computed at once; does not affect results."""


class Shortcut(nn.Module, ABC):
    """Shortcut baseline: maps token ids (B, L) to logits (B, classes); ``fit`` sets its buffers, the weights."""

    name: ClassVar[str]

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def fit(self, train: Split) -> None:
        """Fit the buffers to the training split; the result is deterministic."""

    @abstractmethod
    def features(self, tokens: Tensor) -> Tensor:
        """Return the features, (B,) or (B, F), of token ids, int64 (B, L), each row on its own."""

    def split_features(self, inputs: NDArray[np.int32]) -> Tensor:
        """Return the features of a whole split (N, L)."""
        chunks = (torch.tensor(inputs[at : at + CHUNK]).long() for at in range(0, len(inputs), CHUNK))
        return torch.cat([self.features(chunk) for chunk in chunks])


class LookupBaseline(Shortcut):
    """Lookup table: logits are class counts of the training samples with the same feature, int64 (B,)."""

    counts: Tensor
    kinds: ClassVar[int]
    """Number of feature values, which are 0 to ``kinds`` - 1."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__(shape)
        self.register_buffer("counts", torch.zeros(self.kinds, shape.classes))

    def fit(self, train: Split) -> None:
        """Count classes per feature value; values without training samples get the total counts."""
        labels = torch.from_numpy(train.labels)
        places = self.split_features(train.inputs) * self.shape.classes + labels
        counts = torch.bincount(places, minlength=self.counts.numel()).view_as(self.counts).float()
        self.counts = torch.where(counts.sum(1, keepdim=True) > 0, counts, counts.sum(0))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the class counts (B, classes) as logits."""
        return self.counts[self.features(tokens)]


class LinearBaseline(Shortcut):
    """Logistic regression on standardised features, float32 (B, F).

    It minimises the sum of the cross-entropies plus half the squared norm of the weights, as scikit-learn does by
    default. With two classes, that norm is of the difference of their two weight rows.
    """

    weight: Tensor
    bias: Tensor
    steps: ClassVar[int] = 300
    """Maximal number of L-BFGS iterations."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__(shape)
        width = self.width()
        self.register_buffer("weight", torch.zeros(shape.classes, width))
        self.register_buffer("bias", torch.zeros(shape.classes))

    def width(self) -> int:
        """Return the number of features."""
        return self.shape.vocabulary

    def fit(self, train: Split) -> None:
        """Solve the convex problem; the standardisation is folded into weights and bias."""
        features = self.split_features(train.inputs).double().numpy()
        mean, scale = features.mean(0), features.std(0)
        scale[scale < 1e-6] = 1.0
        classes, targets = np.unique(train.labels, return_inverse=True)
        solution = _minimised((features - mean) / scale, np.eye(len(classes))[targets], self.steps)
        # Classes without a training sample are never predicted.
        weight, bias = np.zeros((self.shape.classes, features.shape[1])), np.full(self.shape.classes, -1e9)
        weight[classes], bias[classes] = solution[:, :-1], solution[:, -1]
        self.weight = torch.from_numpy(weight / scale).float()
        self.bias = torch.from_numpy(bias - (weight / scale) @ mean).float()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, classes), linear in the features."""
        return self.features(tokens) @ self.weight.T + self.bias


def _minimised(features: NDArray[np.float64], targets: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Weights of the penalised regression, (classes, F + 1), by L-BFGS; the last column holds the biases.

    Args:
        features: (N, F), standardised.
        targets: (N, classes), 1 at the class of each sample, otherwise 0.
        steps: maximal number of iterations.
    """
    count, classes = targets.shape
    # At the minimum, two rows are opposite: the squared norm of their difference is twice the sum of their own.
    penalty = (2.0 if classes == 2 else 1.0) / count

    def loss(flat: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, NDArray[np.float64]]:
        weight, bias = np.hsplit(flat.reshape(classes, -1), [-1])
        logs = log_softmax(features @ weight.T + bias.T, axis=1)
        errors = (np.exp(logs) - targets) / count
        gradient = np.hstack([errors.T @ features + penalty * weight, errors.sum(0)[:, None]])
        return penalty / 2 * float((weight**2).sum()) - float((targets * logs).sum()) / count, gradient.ravel()

    start = np.zeros(classes * (features.shape[1] + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps, "gtol": 1e-6, "ftol": 1e-14})
    return np.asarray(found.x).reshape(classes, -1)
