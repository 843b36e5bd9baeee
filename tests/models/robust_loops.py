"""The formulas of the robust attentions in plain loops: one sample, one head, real tokens only; q, k, v are (n, P)."""

import math

import torch
from torch import Tensor

from robustbench_wb.rng import words

D, P = 6, 4
"""Width of the stream and of a head: they need not be related."""


def seen(i: int, n: int, causal: bool) -> list[int]:
    return list(range(i + 1)) if causal else list(range(n))


def average(logits: list[float], rows: list[Tensor]) -> Tensor:
    e = [math.exp(x - max(logits)) for x in logits]
    return sum((w / sum(e) * row for w, row in zip(e, rows, strict=True)), torch.zeros(P, dtype=torch.float64))


def plain(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    rows = []
    for i in range(len(q)):
        js = seen(i, len(k), causal)
        rows.append(average([float(q[i] @ k[j]) / math.sqrt(P) for j in js], [v[j] for j in js]))
    return torch.stack(rows)


def naive_twicing(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    once = plain(q, k, v, causal=causal)
    return once + plain(q, k, v - once, causal=causal)


def naive_neutreno(q: Tensor, k: Tensor, v: Tensor, causal: bool, before: Tensor) -> Tensor:
    return plain(q, k, v, causal=causal) + 0.6 * (before - v)


def naive_elliptical(q: Tensor, k: Tensor, v: Tensor, causal: bool, before: Tensor) -> Tensor:
    rows = []
    for i in range(len(q)):
        js = seen(i, len(k), causal)
        m = [sum(abs(float(v[j, c] - before[j, c])) for j in js) / len(js) / 5.0 for c in range(P)]
        m = [value / max(m) for value in m]
        logits = [sum(float(q[i, c]) * m[c] * float(k[j, c]) for c in range(P)) / math.sqrt(P) for j in js]
        rows.append(average(logits, [v[j] for j in js]))
    return torch.stack(rows)


def naive_rpc(k: Tensor, v: Tensor, causal: bool, steps: int, lam: float = 0.5) -> Tensor:
    n = len(k)
    low, dual = torch.zeros(n, P, dtype=torch.float64), torch.zeros(n, P, dtype=torch.float64)
    mu = [
        len(seen(i, n, causal)) * D / (4 * sum(float(k[j].abs().sum()) for j in seen(i, n, causal))) for i in range(n)
    ]
    for _ in range(steps):
        sparse, clean = torch.zeros_like(low), torch.zeros_like(low)
        for i in range(n):
            for c in range(P):
                value = float(k[i, c] - low[i, c] + dual[i, c] / mu[i])
                sparse[i, c] = math.copysign(max(abs(value) - lam * mu[i], 0.0), value)
                clean[i, c] = k[i, c] - sparse[i, c] - dual[i, c] / mu[i]
        low = plain(clean, clean, v, causal=causal)
        for i in range(n):
            dual[i] += mu[i] * (k[i] - low[i] - sparse[i])
    return low


def distance(x: Tensor, y: Tensor) -> float:
    return float(sum((x[c] - y[c]) ** 2 for c in range(len(x)))) / math.sqrt(P)


def kirwls(features: list[Tensor], psi: str, a: float) -> list[float]:
    n = len(features)
    gram = [[math.exp(-distance(x, y)) for y in features] for x in features]
    weights = []
    for i in range(n):
        h = math.sqrt(max(gram[i][i] - 2 * sum(gram[i]) / n + sum(map(sum, gram)) / n**2, 0.0))
        if h <= a:
            weights.append(1.0)
        elif psi == "huber" or h <= 2 * a:
            weights.append(a / h)
        else:
            weights.append(max((3 * a - h) / h, 0.01))
    return [w / sum(weights) for w in weights]


def naive_kde(q: Tensor, k: Tensor, v: Tensor, causal: bool, psi: str, a: float) -> Tensor:
    k = torch.stack([row / math.sqrt(float(row @ row)) for row in k])
    rows = []
    for i in range(len(q)):
        js = seen(i, len(k), causal)
        marginal = kirwls([k[j] for j in js], psi, a)
        joint = kirwls([torch.cat([k[j], v[j]]) for j in js], psi, a)
        e = [math.exp(-distance(q[i], k[j])) for j in js]
        below = sum(w * x for w, x in zip(marginal, e, strict=True))
        rows.append(torch.stack([w * x / below * v[j] for w, x, j in zip(joint, e, js, strict=True)]).sum(0))
    return torch.stack(rows)


def naive_mom(q: Tensor, k: Tensor, v: Tensor, causal: bool, layer: int, subsets: int, share: float) -> Tensor:
    k = torch.stack([row / math.sqrt(float(row @ row)) for row in k])
    lots = words(torch.arange(subsets), len(k), seed=0, label="median-of-means", step=layer).tolist()
    rows = []
    for i in range(len(q)):
        js = seen(i, len(k), causal)
        size = max(1, math.floor(share * len(js) + 1e-9))
        chosen = [sorted(js, key=lambda j, lot=lot: lot[j])[:size] for lot in lots]  # type: ignore[misc]
        scores = [sum(-distance(q[a], k[j]) for a in js for j in subset) for subset in chosen]
        median = sorted(range(subsets), key=lambda s: scores[s])[subsets // 2]
        visible = sorted({*chosen[median], i})
        rows.append(average([-distance(q[i], k[j]) for j in visible], [v[j] for j in visible]))
    return torch.stack(rows)


def naive(name: str, layer: int, parts: list[Tensor], before: Tensor | None, causal: bool) -> Tensor:
    """One head of one sample by its formula. ``before``: the values of the layer before, None in the first."""
    if name == "rpc":
        return naive_rpc(parts[0], parts[1], causal, steps=3 if layer == 0 else 1)
    q, k, v = parts
    if name == "twicing":
        return naive_twicing(q, k, v, causal=causal)
    if name in ("neutreno", "elliptical"):
        rule = naive_neutreno if name == "neutreno" else naive_elliptical
        return plain(q, k, v, causal=causal) if before is None else rule(q, k, v, causal=causal, before=before)
    if name == "median-of-means":
        return naive_mom(q, k, v, causal=causal, layer=layer, subsets=4, share=0.6)
    psi, a = ("huber", 0.75) if name == "robust-kde-huber" else ("hampel", 0.35)
    return naive_kde(q, k, v, causal=causal, psi=psi, a=a)
