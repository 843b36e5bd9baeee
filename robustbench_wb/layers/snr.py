"""Signal-to-noise gain: whether a block keeps the signal better than the noise.

The premise of the filtering view of residuals (arXiv 2506.10371): a step that suppresses noise more than signal raises
the ratio. Here it is measured instead of assumed.
"""

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.layers.tokens import counts, energy, real

NOISE_LEVEL = 0.1
"""Root mean square of the noise over that of the stream it is added to: 20 dB."""


def stream_noise(x: Tensor, keep: Tensor | None, ids: Tensor, seed: int, layer: int, level: float) -> Tensor:
    """Gaussian noise for the real tokens of ``x`` (B, N, d), of ``level`` times each sample's root mean square.

    Counted by (seed, sample id, token, layer): batch, order and length of padding cannot change it.
    """
    batch, tokens, width = x.shape
    places = (ids.to(torch.int64)[:, None] << 32) + torch.arange(tokens, device=ids.device)
    drawn = rng.normal(places.flatten(), (width,), seed, "layers/noise", layer).view(batch, tokens, width)
    size = (energy(x, keep) / (counts(x, keep) * width)).sqrt()
    return real(drawn.to(x.dtype), keep) * (level * size)[:, None, None]


def snr_gain(x: Tensor, noise: Tensor, clean: Tensor, noisy: Tensor, keep: Tensor | None) -> Tensor:
    """``SNR(out) / SNR(in)`` in dB, (B,): above 0 the block is a denoiser.

    ``clean`` and ``noisy`` are the block's outputs for ``x`` and ``x + noise``; SNR(in) = |x|^2 / |noise|^2 and
    SNR(out) = |clean|^2 / |noisy - clean|^2, over real tokens. NaN where a ratio is 0 or has no limit.
    """
    entering = energy(x, keep) / energy(noise, keep)
    leaving = energy(clean, keep) / energy(noisy - clean, keep)
    gain = 10.0 * torch.log10(leaving / entering)
    return torch.where(gain.isfinite(), gain, torch.nan)
