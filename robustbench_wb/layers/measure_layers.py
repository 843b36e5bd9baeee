"""Measurement of all layers: one forward pass, block by block, with every measure."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from robustbench_wb.layers import coding_rate
from robustbench_wb.layers.cross_terms import cross_terms
from robustbench_wb.layers.entropy import attention_entropy
from robustbench_wb.layers.similarity import token_similarity
from robustbench_wb.layers.snr import NOISE_LEVEL, snr_gain, stream_noise
from robustbench_wb.layers.sparsity import nonzero_fraction
from robustbench_wb.layers.table import MEASURES, LayerTable, join_tables
from robustbench_wb.models.backbone import Transformer, TransformerBlock
from robustbench_wb.models.batching import batches
from robustbench_wb.models.sockets import Context
from robustbench_wb.progress import Advance

Measures = dict[str, Tensor]
"""Values per sample, (B,), by measure."""


def measure_layers(
    model: Transformer,
    inputs: Tensor,
    ids: Tensor,
    *,
    seed: int,
    batch: int,
    noise: float = NOISE_LEVEL,
    advance: Advance = lambda count: None,
) -> LayerTable:
    """Measure every block for every sample.

    Args:
        model: the model, in eval mode.
        inputs: model inputs (samples, ...), on the model's device.
        ids: sample ids, int64 (samples,). The noise of the signal-to-noise gain depends on ``ids`` and ``seed`` only.
        seed: seed of that noise.
        batch: samples per forward pass; affects speed and rounding only.
        noise: root mean square of that noise, relative to the stream.
        advance: callback that receives the number of finished samples.

    Raises:
        ValueError: there are no samples, or the numbers of samples and ids differ.
    """
    if len(ids) != len(inputs) or not len(ids):
        raise ValueError(f"{len(inputs)} samples have {len(ids)} ids; give at least one sample, and one id per sample")
    parts, order = [], []
    for rows, some in batches(inputs, batch):
        parts.append(_walk(model, some, ids[rows], seed=seed, noise=noise))
        order.append(np.arange(len(ids))[rows.cpu().numpy() if isinstance(rows, Tensor) else rows])
        advance(len(parts[-1].ids))
    return join_tables(parts).take(np.argsort(np.concatenate(order)))


@torch.no_grad()
def _walk(model: Transformer, inputs: Tensor, ids: Tensor, *, seed: int, noise: float) -> LayerTable:
    x0, context = model.embed(inputs)
    x, layers = x0, []
    for number, module in enumerate(model.backbone.blocks):
        block = cast("TransformerBlock", module)
        before = dict(context.carry)
        out, found = _measure_block(block, x=x, x0=x0, context=context)
        added = stream_noise(x, context.keep, ids=ids, seed=seed, layer=number, level=noise)
        # The noisy pass reads what earlier layers stored in the context, but stores nothing for later layers.
        noisy = block(x + added, x0, replace(context, carry=before, watch=None))
        found["snr_gain"] = snr_gain(x, added, clean=out, noisy=noisy, keep=context.keep)
        if number == 0:
            found |= cross_terms(model.embedding, block, x0=x0, context=context)
        layers.append(found)
        x = out
    nothing = torch.full((len(ids),), torch.nan)
    values = {
        name: np.stack([layer.get(name, nothing).cpu().double().numpy() for layer in layers]) for name in MEASURES
    }
    return LayerTable(ids.cpu().numpy().astype(np.int64), values)


def _measure_block(block: TransformerBlock, *, x: Tensor, x0: Tensor, context: Context) -> tuple[Tensor, Measures]:
    """Next stream and the measures of a block, without those that are undefined for it."""
    watch = _Watch(context)
    entered: list[Tensor] = []
    hook = block.feedforward.register_forward_pre_hook(lambda module, given: entered.append(given[0]))
    context.watch = watch
    try:
        out: Tensor = block(x, x0, context)
    finally:
        hook.remove()
    keep = context.keep
    code: Callable[[Tensor], Tensor] | None = getattr(block.feedforward, "code", None)
    return out, {
        **watch.mean(),
        "stream_rate": coding_rate.stream_rate(x, keep),
        "normed_rate": coding_rate.stream_rate(x if block.post else block.norm(x), keep),
        "sparsity": nonzero_fraction(out if code is None else code(entered[0]), keep),
        "similarity": token_similarity(out, keep),
    }


@dataclass
class _Watch:
    """Callback for attention that measures a matrix and its values at once, so that none is stored."""

    context: Context
    found: list[Measures] = field(default_factory=list)

    def __call__(self, matrix: Tensor, values: Tensor) -> None:
        keep = self.context.keep
        entropy, share = attention_entropy(matrix, self.context.mask(matrix.shape[-1], matrix.device), keep)
        rate = coding_rate.subspace_rate(values, keep)
        self.found.append(
            {
                "coding_rate": rate,
                "coding_rate_share": coding_rate.subspace_share(rate, values, keep),
                "entropy": entropy,
                "entropy_share": share,
            }
        )

    def mean(self) -> Measures:
        """Return the measures of a block, averaged if its attention mixes several times."""
        names = self.found[0] if self.found else {}
        return {name: torch.stack([found[name] for found in self.found]).mean(dim=0) for name in names}
