"""Noise with a given spectrum and random phases (Mintun, Kirillov & Xie 2021)."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Spectrum = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Amplitude for each distance from the centre of the spectrum; the unit is one cycle along the shorter side."""


def spectral_noise(phases: Tensor, width: int, spectrum: Spectrum) -> Tensor:
    """Noise of standard deviation 1: real part of the inverse Fourier transform, float64 (B, C, H, W).

    The phases of the left half are repeated in the right half, turned by 180 degrees. Each image is transformed alone,
    so that the batch cannot change a bit.

    Args:
        phases: (B, C, H, (W + 1) // 2) in turns, from 0 to 1.
        width: W, in pixels.
        spectrum: amplitude at a distance.
    """
    height = phases.shape[-2]
    down, along = (np.arange(side) - side / 2 for side in (height, width))
    short = min(height, width)
    amplitude = spectrum(np.hypot(down[:, None] * (short / height), along * (short / width)))
    fields = [_field(turns, amplitude) for turns in phases.cpu().double().numpy()]
    return torch.from_numpy(np.stack(fields)).to(phases.device)


def _field(turns: NDArray[np.float64], amplitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise of one image, (C, H, W)."""
    width = amplitude.shape[1]
    turned = turns[..., ::-1, ::-1][..., width % 2 :]
    waves = amplitude * np.exp(2j * np.pi * np.concatenate([turns, turned], -1))
    noise: NDArray[np.float64] = np.fft.ifft2(np.fft.ifftshift(waves, (-2, -1))).real
    noise /= noise.std((-2, -1), keepdims=True)
    return noise
