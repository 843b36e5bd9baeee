"""Classification by the nearest subspace of a class."""

import torch
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.data_built import DataBuilt
from robustbench_wb.models.sockets import Context, Head


class NearestSubspaceHead(Head, DataBuilt):
    """Nearest subspace: logits ``scale |U_j^T z|^2`` of whole samples z of unit length, (N d,).

    ``fit`` sets the columns of U_j to the first principal directions of the features of class j, without a mean, as in
    the evaluation of ReduNet (Chan et al. 2022, as implemented): the distance of z to their span is
    ``sqrt(1 - |U_j^T z|^2)``, so that the largest logit is the nearest subspace. U and the scale can be trained.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        norm_eps: float,
        tokens: int | None = None,
        directions: int = 10,
        scale: float = 20.0,
    ) -> None:
        super().__init__(width, classes, norm_eps)
        if not tokens:  # None only where options are listed
            raise UsageError("the head of the nearest subspace needs the number of tokens")
        values = tokens * width
        self.bases = nn.Parameter(torch.randn(classes, min(directions, values), values) / values**0.5)
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the last stream (B, N, d) to logits (B, classes)."""
        inner = torch.einsum("krv,bv->bkr", self.bases, x.flatten(1))
        logits: Tensor = self.scale * inner.square().sum(2)
        return logits

    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Compute the directions from features (M, N, d) and labels int64 (M,); those that a class lacks are zero."""
        for j, basis in enumerate(self.bases):
            directions = principal_directions(features[labels == j].flatten(1).double(), len(basis))
            basis.zero_()
            basis[: len(directions)] = directions.to(basis.dtype)


def principal_directions(rows: Tensor, count: int) -> Tensor:
    """Right singular vectors of ``rows`` (M, D) with the largest singular values, at most ``count``: (r, D).

    They come from the smaller of the two Gram matrices. Directions without variance are left out.
    """
    wide = len(rows) < rows.shape[1]
    values, vectors = torch.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    kept = [at for at in range(len(values) - 1, -1, -1)[:count] if values[at] > 1e-10 * values[-1]]
    chosen: Tensor = vectors[:, kept]
    return (rows.T @ chosen / values[kept].sqrt()).T if wide else chosen.T
