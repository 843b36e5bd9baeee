"""Signal-to-noise gain: whether a block preserves the signal better than the noise.

The filtering view of residuals (arXiv 2506.10371) assumes that a step suppresses noise more than signal and so raises
the ratio. This module measures it.
"""

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.layers.real_tokens import counts, energy, real

NOISE_LEVEL = 0.1
"""Root mean square of the added noise relative to that of the stream (20 dB)."""


def stream_noise(x: Tensor, keep: Tensor | None, *, ids: Tensor, seed: int, layer: int, level: float) -> Tensor:
    """Return Gaussian noise (B, N, d) for real tokens of ``x``, with ``level`` times each sample's root mean square.

    The noise is a function of (seed, sample id, token, layer); batch, order and padding cannot change it.
    """
    batch, tokens, width = x.shape
    places = (ids.to(torch.int64)[:, None] << 32) + torch.arange(tokens, device=ids.device)
    drawn = rng.normal(places.flatten(), (width,), seed=seed, label="layers/noise", step=layer).view(
        batch, tokens, width
    )
    size = (energy(x, keep) / (counts(x, keep) * width)).sqrt()
    return real(drawn.to(x.dtype), keep) * (level * size)[:, None, None]


def snr_gain(x: Tensor, noise: Tensor, *, clean: Tensor, noisy: Tensor, keep: Tensor | None) -> Tensor:
    """Return the gain ``SNR(out) / SNR(in)`` in dB, (B,); above 0 dB the block is a denoiser.

    ``clean`` and ``noisy`` are the block's outputs for ``x`` and ``x + noise``. Over real tokens,
    SNR(in) = |x|^2 / |noise|^2 and SNR(out) = |clean|^2 / |noisy - clean|^2. NaN if a ratio is 0 or infinite.
    """
    entering = energy(x, keep) / energy(noise, keep)
    leaving = energy(clean, keep) / energy(noisy - clean, keep)
    gain = 10.0 * torch.log10(leaving / entering)
    return torch.where(gain.isfinite(), gain, torch.nan)
