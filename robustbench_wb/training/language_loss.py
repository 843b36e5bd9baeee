"""Loss of language models, for training and evaluation."""

import torch.nn.functional as F
from torch import Tensor


def next_token_losses(logits: Tensor, tokens: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return the next-token cross-entropy (nats) of each text, (B,); logits (B, L, V) at token t predict token t + 1.

    Without ``counted`` all L tokens are real, and the result is the mean over the L - 1 predicted tokens. With
    ``counted``, bool (B, T - 1), only counted tokens add to the sum, but the divisor remains T - 1, because a text may
    have no counted token; callers derive the mean over counted tokens from many texts. T is the text length before
    padding columns were trimmed, so that the divisor does not depend on the batch.
    """
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    if counted is None:
        return losses.mean(1)
    return losses.masked_fill(~counted[:, : losses.shape[1]], 0).sum(1) / counted.shape[1]
