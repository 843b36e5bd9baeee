"""A text model run from word vectors of one's own, in place of those that it looks up for its token ids.

The output of the table of word vectors is exchanged; all else that a model does with its ids stays as it is: finding
padding, positions, the token that answers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_wb.errors import SubjectError
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.embeddings import TokenEmbedding
from robustbench_wb.models.providers.texts import Texts


class WordTable:
    """The table of a model: ``TokenEmbedding.words``, or what ``get_input_embeddings()`` (as in transformers) names.

    Raises:
        SubjectError: the model has no such table.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.module = model, _find(model)

    def vectors(self, tokens: Tensor) -> Tensor:
        """The word vectors (..., d) that the model looks up for token ids (...)."""
        rows = self.model.encoder.swap(tokens) if isinstance(self.model, Texts) else tokens
        with torch.no_grad():
            found: Tensor = self.module(rows)
        return found

    def logits(self, tokens: Tensor, vectors: Tensor) -> Tensor:
        """Logits (B, classes) for token ids (B, L), with ``vectors`` (B, L, d) for those of the table.

        Raises:
            SubjectError: the model does not look up all of its words at once.
        """
        looked_up: list[tuple[int, ...]] = []

        def exchange(module: nn.Module, given: Any, found: Tensor) -> Tensor:
            looked_up.append(tuple(found.shape))
            return vectors

        hook = self.module.register_forward_hook(exchange)
        try:
            logits: Tensor = self.model(tokens)
        finally:
            hook.remove()
        if looked_up != [tuple(vectors.shape)]:
            raise SubjectError(f"the model looks up {looked_up} word vectors, not {tuple(vectors.shape)} at once")
        return logits

    def gradient(self, tokens: Tensor, vectors: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, classes), and the gradient of each sample's own loss in its word vectors (B, L, d).

        ``loss`` takes float32 logits to (B,). Losses are summed, never averaged: a sample's gradient does not depend on
        who shares its batch. A model that is constant in its word vectors has gradient zero.
        """
        with torch.enable_grad():
            moving = vectors.detach().requires_grad_(True)
            logits = self.logits(tokens, moving)
            losses = loss(logits.float())
            found: tuple[Tensor | None, ...] = (None,)
            if losses.requires_grad:
                found = torch.autograd.grad(losses.sum(), moving, allow_unused=True)
        return logits.detach(), torch.zeros_like(vectors) if found[0] is None else found[0]


def _find(model: nn.Module) -> nn.Module:
    if isinstance(model, Transformer) and isinstance(model.embedding, TokenEmbedding):
        return model.embedding.words
    ask = getattr(model.model if isinstance(model, Texts) else model, "get_input_embeddings", None)
    table = ask() if callable(ask) else None
    if not isinstance(table, nn.Module):
        raise SubjectError(
            f"{type(model).__name__} names no table of word vectors (get_input_embeddings), so there is nothing to "
            "take a gradient in; attacks that only ask for answers need none"
        )
    return table
