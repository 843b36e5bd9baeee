"""The loss of a language model, in training and in measurements."""

import torch.nn.functional as F
from torch import Tensor


def next_token_losses(logits: Tensor, tokens: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean cross-entropy (nats) of each text's next tokens, (B,): logits (B, L, V) at token t are for token t + 1.

    Every text has L real tokens, so that L - 1 are predicted. Those that are not ``counted``, bool (B, T - 1), add
    nothing, and are divided by all the same: the mean over counted tokens is had from many texts together, since one
    may have none. T is the length of a text before columns that are padding in the whole batch were cut off: whatever
    the batch, a text's losses are divided by T - 1.
    """
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    if counted is None:
        return losses.mean(1)
    return losses.masked_fill(~counted[:, : losses.shape[1]], 0).sum(1) / counted.shape[1]
