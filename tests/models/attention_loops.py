"""The formulas of attentions from the literature in plain loops: one sample, real tokens only, q, k, v (n, P) a head.

Each takes the mechanism, the parts of all heads, what earlier layers left in ``memory``, and whether it is causal; it
returns the outputs of all heads.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.models.robust_loops import P, naive_twicing, plain, seen

Heads = list[list[Tensor]]
Memory = dict[str, list[Tensor]]


def dot(x: Tensor, y: Tensor) -> float:
    return sum(float(a) * float(b) for a, b in zip(x, y, strict=True))


def mixed(weights: list[float], rows: list[Tensor]) -> Tensor:
    return sum((w * row for w, row in zip(weights, rows, strict=True)), torch.zeros(P, dtype=torch.float64))


def softmax(logits: list[float]) -> list[float]:
    e = [math.exp(x) for x in logits]
    return [x / sum(e) for x in e]


def twicing_neutreno(layer: Any, heads: Heads, memory: Memory, causal: bool) -> list[Tensor]:
    out = [naive_twicing(q, k, v, causal=causal) for q, k, v in heads]
    if "first" in memory:
        out = [x + 0.4 * (v0 - v) for x, v0, (_, _, v) in zip(out, memory["first"], heads, strict=True)]
    memory.setdefault("first", [v for _, _, v in heads])
    return out


def carried(layer: Any, heads: Heads, memory: Memory, causal: bool) -> list[Tensor]:
    first = memory.setdefault("first", [v for _, _, v in heads])
    residual = memory.setdefault("residual", [torch.zeros_like(v) for v in first])
    out = [plain(q, k, v + r, causal=causal) for (q, k, v), r in zip(heads, residual, strict=True)]
    memory["residual"] = [r + (v0 - x) for r, v0, x in zip(residual, first, out, strict=True)]
    return out


def differential(layer: Any, heads: Heads, memory: Memory, causal: bool) -> list[Tensor]:
    depth = len(memory.setdefault("layers", []))
    memory["layers"].append(torch.zeros(()))
    c = 0.8 - 0.6 * math.exp(-0.3 * depth)
    (a1, a2), (b1, b2) = layer.left, layer.right
    lam = math.exp(dot(a1, b1)) - math.exp(dot(a2, b2)) + c
    found, half = [], P // 2
    for q, k, v in heads:
        rows = []
        for i in range(len(q)):
            js = seen(i, len(q), causal)
            one = softmax([dot(q[i, :half], k[j, :half]) / math.sqrt(half) for j in js])
            two = softmax([dot(q[i, half:], k[j, half:]) / math.sqrt(half) for j in js])
            row = mixed([x - lam * y for x, y in zip(one, two, strict=True)], [v[j] for j in js])
            rows.append((1 - c) * layer.gain * row / math.sqrt(dot(row, row) / P + 1e-5))
        found.append(torch.stack(rows))
    return found


def doubly_stochastic(layer: Any, heads: Heads, memory: Memory, causal: bool) -> list[Tensor]:
    found = []
    for q, k, v in heads:
        n = len(q)
        s = [[math.exp(dot(q[i], k[j]) / math.sqrt(P)) for j in range(n)] for i in range(n)]
        for step in range(2 * layer.column_steps + 1):
            rows = [sum(s[i]) for i in range(n)]
            columns = [sum(s[i][j] for i in range(n)) for j in range(n)]
            s = [[s[i][j] / (columns[j] if step % 2 else rows[i]) for j in range(n)] for i in range(n)]
        found.append(torch.stack([mixed(s[i], list(v)) for i in range(n)]))
    return found


def sigmoid(layer: Any, heads: Heads, memory: Memory, causal: bool) -> list[Tensor]:
    found = []
    for q, k, v in heads:
        rows = []
        for i in range(len(q)):
            js = seen(i, len(q), causal)
            logits = [dot(q[i], k[j]) / math.sqrt(P) - math.log(len(js)) for j in js]
            rows.append(mixed([1 / (1 + math.exp(-x)) for x in logits], [v[j] for j in js]))
        found.append(torch.stack(rows))
    return found


def linear(layer: Any, heads: Heads, memory: Memory, causal: bool) -> list[Tensor]:
    found = []
    for q, k, v in heads:
        q, k = (torch.nn.functional.elu(x) + 1 for x in (q, k))
        rows = []
        for i in range(len(q)):
            js = seen(i, len(q), causal)
            weights = [dot(q[i], k[j]) for j in js]
            rows.append(mixed([w / sum(weights) for w in weights], [v[j] for j in js]))
        found.append(torch.stack(rows))
    return found


def cosine(layer: Any, heads: Heads, memory: Memory, causal: bool) -> list[Tensor]:
    found = []
    for g, (q, k, v) in zip(layer.log_sharpness.flatten().tolist(), heads, strict=True):
        rows = []
        for i in range(len(q)):
            js = seen(i, len(q), causal)
            angles = [dot(q[i], k[j]) / math.sqrt(dot(q[i], q[i]) * dot(k[j], k[j])) for j in js]
            rows.append(mixed(softmax([min(math.exp(g), 100.0) * x for x in angles]), [v[j] for j in js]))
        found.append(torch.stack(rows))
    return found


def token_statistics(layer: Any, heads: Heads, memory: Memory, causal: bool) -> list[Tensor]:
    ws, n = [w for (w,) in heads], len(heads[0][0])
    member = torch.zeros(len(ws), n, dtype=torch.float64)
    for i in range(n):
        js = seen(i, n, causal)
        scores = []
        for g, w in zip(layer.temperature.flatten().tolist(), ws, strict=True):
            scores.append(g * sum(float(w[i, c] ** 2) / sum(float(w[j, c] ** 2) for j in js) for c in range(P)))
        member[:, i] = torch.tensor(softmax(scores), dtype=torch.float64)
    found = []
    for h, w in enumerate(ws):
        rows = []
        for i in range(n):
            js = seen(i, n, causal)
            total = sum(float(member[h, j]) for j in js)
            moments = [sum(float(member[h, j] * w[j, c] ** 2) for j in js) / total for c in range(P)]
            rows.append(torch.stack([-member[h, i] * w[i, c] / (1 + moments[c]) for c in range(P)]))
        found.append(torch.stack(rows))
    return found


LOOPS: dict[str, Callable[[Any, Heads, Memory, bool], list[Tensor]]] = {
    "twicing-neutreno": twicing_neutreno,
    "boosting-carried": carried,
    "differential": differential,
    "doubly-stochastic": doubly_stochastic,
    "sigmoid": sigmoid,
    "linear": linear,
    "cosine": cosine,
    "tost": token_statistics,
}
"""The loop of each variant, by its name."""
