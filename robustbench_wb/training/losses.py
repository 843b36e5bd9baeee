"""The loss of a language model, in training and in measurements."""

import torch.nn.functional as F
from torch import Tensor


def next_token_losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean cross-entropy (nats) of each text's next tokens, (B,): logits (B, L, V) at token t are for token t + 1.

    Every text has L real tokens, so that L - 1 are predicted.
    """
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none").mean(1)
