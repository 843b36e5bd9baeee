"""What a shortcut is: a classifier of token ids that is fitted in closed form or by a convex problem, not trained."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.task import Split

CHUNK = 1024
"""Samples whose features are made at once. Cannot change a result."""


class Shortcut(nn.Module, ABC):
    """Token ids (B, L) to logits (B, classes). Built for a shape, fitted once; its buffers are its weights."""

    name: ClassVar[str]

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def fit(self, train: Split) -> None:
        """Learn from the training split. The same split gives the same buffers."""

    @abstractmethod
    def features(self, tokens: Tensor) -> Tensor:
        """What is read of token ids, int64 (B, L): (B,) or (B, F), row by row."""

    def every(self, inputs: NDArray[np.int32]) -> Tensor:
        """The features of a whole split."""
        chunks = (torch.tensor(inputs[at : at + CHUNK]).long() for at in range(0, len(inputs), CHUNK))
        return torch.cat([self.features(chunk) for chunk in chunks])


class Lookup(Shortcut):
    """The classes that the training samples with the same feature have, by their number. Features: int64 (B,)."""

    counts: Tensor
    kinds: ClassVar[int]
    """Features are 0 to ``kinds`` - 1."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__(shape)
        self.register_buffer("counts", torch.zeros(self.kinds, shape.classes))

    def fit(self, train: Split) -> None:
        """Count. A feature that no training sample has gets the counts of all."""
        labels = torch.from_numpy(train.labels)
        places = self.every(train.inputs) * self.shape.classes + labels
        counts = torch.bincount(places, minlength=self.counts.numel()).view_as(self.counts).float()
        self.counts = torch.where(counts.sum(1, keepdim=True) > 0, counts, counts.sum(0))

    def forward(self, tokens: Tensor) -> Tensor:
        """The counts, as logits."""
        return self.counts[self.features(tokens)]


class Linear(Shortcut):
    """Logistic regression on standardised features, float32 (B, F), with scikit-learn's l2 penalty of 1."""

    weight: Tensor
    bias: Tensor
    wide: ClassVar[int] = 0
    """Numbers in a feature vector beyond one per id of the vocabulary."""
    steps: ClassVar[int] = 300
    """Most iterations of L-BFGS."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__(shape)
        width = self.width()
        self.register_buffer("weight", torch.zeros(shape.classes, width))
        self.register_buffer("bias", torch.zeros(shape.classes))

    def width(self) -> int:
        """Numbers in a feature vector."""
        return self.shape.vocabulary

    def fit(self, train: Split) -> None:
        """Solve the convex problem; the standardisation goes into weights and bias."""
        from sklearn.linear_model import LogisticRegression

        features = self.every(train.inputs).double().numpy()
        mean, scale = features.mean(0), features.std(0)
        scale[scale < 1e-6] = 1.0
        model = LogisticRegression(max_iter=self.steps).fit((features - mean) / scale, train.labels)
        weight, bias = np.zeros((self.shape.classes, features.shape[1])), np.full(self.shape.classes, -1e9)
        if len(model.classes_) == 2:  # scikit-learn then keeps one row, for the second class
            weight[model.classes_[1]], bias[model.classes_] = model.coef_[0], (0.0, model.intercept_[0])
        else:
            weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
        self.weight = torch.from_numpy(weight / scale).float()
        self.bias = torch.from_numpy(bias - (weight / scale) @ mean).float()

    def forward(self, tokens: Tensor) -> Tensor:
        """Linear."""
        return self.features(tokens) @ self.weight.T + self.bias
