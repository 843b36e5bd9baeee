"""Attention with a learned bias in pieces of the batch: its gradients, and what it never writes out."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from robustbench_wb.models.attention import biased
from robustbench_wb.models.attention.base import attend, attention_matrix
from robustbench_wb.models.sockets import Context

B, H, N, P = 5, 2, 7, 4


def randn(*shape: int, seed: int = 0) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.requires_grad_()


def context(look: str) -> Context:
    keep = torch.ones(B, N, dtype=torch.bool)
    for sample in range(1, B):
        keep[sample, -sample:] = False
    return Context(keep=keep if look == "padding" else None, causal=look == "causal")


@pytest.mark.parametrize("piece", [1, 3 * H * N * N, biased.PIECE])
@pytest.mark.parametrize("look", ["", "padding", "causal"])
@pytest.mark.parametrize("learned", [True, False])
def test_values_and_gradients_are_those_of_the_matrix(
    look: str, piece: int, learned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(biased, "PIECE", piece)
    # Heads come as views of a wider tensor, as attention splits them.
    q, k, v = (randn(B, N, H, P, seed=s).transpose(1, 2) for s in range(3))
    bias = randn(1, H, N, N, seed=3).requires_grad_(learned)
    wanted = [q, k, v, bias] if learned else [q, k, v]
    weight = randn(B, H, N, P, seed=4).detach()
    fused = attend(q, k, v, context=context(look), bias=bias)
    matrix = attention_matrix(q, k, context=context(look), bias=bias) @ v
    assert (fused - matrix).abs().max() < 1e-12
    got = torch.autograd.grad((fused * weight).sum(), wanted)
    want = torch.autograd.grad((matrix * weight).sum(), wanted)
    for one, other in zip(got, want, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() < 1e-11


class Largest(TorchDispatchMode):
    """Notes how many entries the largest N x N tensor has that anything returns."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else [out]:
            if isinstance(made, Tensor) and made.shape[-2:] == (N, N):
                self.size = max(self.size, made.numel())
        return out


@pytest.mark.parametrize("look", ["", "padding", "causal"])
def test_no_matrix_over_the_batch_is_written_out(look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biased, "PIECE", 2 * H * N * N)
    q, k, v = (randn(B, H, N, P, seed=s) for s in range(3))
    bias = randn(1, H, N, N, seed=3)
    with Largest() as noted:
        attend(q, k, v, context=context(look), bias=bias).sum().backward()
    assert noted.size == 2 * H * N * N
    with Largest() as noted:
        (attention_matrix(q, k, context=context(look), bias=bias) @ v).sum().backward()
    assert noted.size == B * H * N * N  # the test can see one
