"""The loss of a language model, in training and in measurements."""

import torch.nn.functional as F
from torch import Tensor


def next_token_losses(logits: Tensor, tokens: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean cross-entropy (nats) of each text's next tokens, (B,): logits (B, L, V) at token t are for token t + 1.

    Every text has L real tokens, so that L - 1 are predicted. Those that are not ``counted``, bool (B, L - 1), add
    nothing, and are divided by all the same: the mean over counted tokens is had from many texts together, since one
    may have none.
    """
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    return losses.mean(1) if counted is None else (losses * counted).mean(1)
