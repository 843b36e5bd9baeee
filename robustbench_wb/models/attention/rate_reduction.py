"""Layer of ReduNet: one step of gradient ascent on the rate reduction of the training features."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.data_built import DataBuilt
from robustbench_wb.models.shape import PositionMode
from robustbench_wb.models.sockets import Attention, Context, LayerConfig


class RateReduction(Attention, DataBuilt):
    """Shift-invariant layer of ReduNet (Chan et al. 2022, arXiv 2105.10446, section 4; the 2D form of its code).

    A sample is an image of tokens, (rows, columns, d), and V its discrete Fourier transform over rows and columns. With
    K classes, the update of a sample z is

        eta (E z - sum_j gamma_j pi_j(z) C_j z),    pi(z) = softmax over j of -sharpness |C_j z|

    E and C_j are circular convolutions, that is, at each frequency a d x d matrix of V. ``fit`` computes them from M
    training samples: ``E = alpha (I + alpha sum_i V_i V_i^H)^-1`` with ``alpha = d / (M distortion)``, C_j alike
    from the M_j samples of class j, and gamma_j = M_j / M. E z expands all features, and C_j z is what does not lie in
    the span of class j: the gradient of the rate reduction of the training features, where pi stands for the labels.

    Before ``fit`` the filters are random. They are parameters and can be trained by gradients; gamma is not trained.
    """

    position: ClassVar[PositionMode] = "none"
    shares: Tensor

    def __init__(
        self,
        config: LayerConfig,
        *,
        classes: int | None = None,
        rows: int | None = None,
        columns: int | None = None,
        eta: float = 0.5,
        distortion: float = 0.1,
        sharpness: float = 500.0,
    ) -> None:
        super().__init__()
        if not (classes and rows and columns):  # None only where options are listed
            raise UsageError("rate reduction needs the number of classes and the grid of patches")
        self.rows, self.columns, self.width = rows, columns, config.width
        self.eta, self.distortion, self.sharpness = eta, distortion, sharpness
        filters = torch.randn(1 + classes, rows, columns, config.width, config.width) * 0.1 / config.width
        self.expand, self.compress = nn.Parameter(filters[0]), nn.Parameter(filters[1:])
        self.register_buffer("shares", torch.full((classes,), 1 / classes))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Return the update (B, N, d) of the stream (B, N, d), whose samples have unit length."""
        spectrum = self._spectrum(x)
        expanded = torch.einsum("fgoi,bfgi->bfgo", torch.fft.rfft2(self.expand, dim=(0, 1)), spectrum)
        left = torch.einsum("kfgoi,bfgi->kbfgo", torch.fft.rfft2(self.compress, dim=(1, 2)), spectrum)
        squares = torch.view_as_real(left).square().sum((-2, -1)) * self._multiplicity(x)
        norms = squares.sum((-2, -1)).clamp(min=1e-16).sqrt()
        member = torch.softmax(-self.sharpness * norms, dim=0) * self.shares[:, None]
        step = expanded - (member[:, :, None, None, None] * left).sum(0)
        update = torch.fft.irfft2(step, s=(self.rows, self.columns), dim=(1, 2), norm="ortho")
        moved: Tensor = self.eta * update.flatten(1, 2)
        return moved

    def _spectrum(self, x: Tensor) -> Tensor:
        """Fourier transform of the stream: complex (B, rows, columns // 2 + 1, d)."""
        grid = x.reshape(len(x), self.rows, self.columns, self.width)
        spectrum: Tensor = torch.fft.rfft2(grid, dim=(1, 2), norm="ortho")
        return spectrum

    def _multiplicity(self, x: Tensor) -> Tensor:
        """Number of frequencies that each column of a half spectrum stands for, (columns // 2 + 1,)."""
        last = 1 if self.columns % 2 == 0 else 2
        counts = [1, *[2] * (self.columns // 2)]
        if self.columns > 1:
            counts[-1] = last
        return torch.tensor(counts, dtype=x.dtype, device=x.device)

    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Compute the filters from features (M, N, d) of unit length and labels int64 (M,), in double precision."""
        sums = torch.stack([self._second_moments(features[labels == j]) for j in range(len(self.compress))])
        counts = torch.bincount(labels, minlength=len(self.compress))
        self.expand.copy_(self._filters(sums.sum(0), len(labels)))
        for filters, moments, count in zip(self.compress, sums, counts.tolist(), strict=True):
            filters.copy_(self._filters(moments, max(1, count)))
        self.shares.copy_(counts.double() / len(labels))

    def _second_moments(self, features: Tensor) -> Tensor:
        """Sum of V V^H over samples at each frequency: complex (rows, columns // 2 + 1, d, d)."""
        shape = (self.rows, self.columns // 2 + 1, self.width, self.width)
        total = torch.zeros(shape, dtype=torch.complex128, device=features.device)
        for part in torch.split(features, 1024) if len(features) else ():
            spectrum = self._spectrum(part.double())
            total += torch.einsum("bfgo,bfgi->fgoi", spectrum, spectrum.conj())
        return total

    def _filters(self, moments: Tensor, count: int) -> Tensor:
        """Filters, (rows, columns, d, d), of ``alpha (I + alpha moments)^-1``."""
        alpha = self.width / (count * self.distortion)
        unit = torch.eye(self.width, dtype=moments.dtype, device=moments.device)
        inverse = alpha * torch.linalg.inv(unit + alpha * moments)
        filters: Tensor = torch.fft.irfft2(inverse, s=(self.rows, self.columns), dim=(0, 1))
        return filters
