"""Base classes of shortcut baselines: classifiers of token ids, fitted in closed form or by convex optimisation."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
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
    """Logistic regression on standardised features, float32 (B, F), with scikit-learn's l2 penalty of 1."""

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
        from sklearn.linear_model import LogisticRegression

        features = self.split_features(train.inputs).double().numpy()
        mean, scale = features.mean(0), features.std(0)
        scale[scale < 1e-6] = 1.0
        model = LogisticRegression(max_iter=self.steps).fit((features - mean) / scale, train.labels)
        weight, bias = np.zeros((self.shape.classes, features.shape[1])), np.full(self.shape.classes, -1e9)
        if len(model.classes_) == 2:  # scikit-learn then returns one row, for the second class
            weight[model.classes_[1]], bias[model.classes_] = model.coef_[0], (0.0, model.intercept_[0])
        else:
            weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
        self.weight = torch.from_numpy(weight / scale).float()
        self.bias = torch.from_numpy(bias - (weight / scale) @ mean).float()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, classes), linear in the features."""
        return self.features(tokens) @ self.weight.T + self.bias
