"""Access to the word embeddings of a text model: run it on given word vectors, and take gradients in them.

Only the output of the word embedding layer is replaced. The model still uses the token ids for padding, positions and
pooling.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustbench_wb.errors import SubjectError
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.embeddings import TokenEmbedding
from robustbench_wb.models.providers.text_model import TextModel


class WordEmbeddings:
    """Word embedding layer of a text model: ``TokenEmbedding.words``, or the result of ``get_input_embeddings()``.

    Raises:
        SubjectError: the model has no such layer.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.module = model, _find(model)

    def vectors(self, tokens: Tensor) -> Tensor:
        """Return the word vectors (..., d) that the model looks up for token ids of shape (...)."""
        rows = self.model.encoder.swap(tokens) if isinstance(self.model, TextModel) else tokens
        with torch.no_grad():
            found: Tensor = self.module(rows)
        return found

    def logits(self, tokens: Tensor, vectors: Tensor) -> Tensor:
        """Return logits (B, classes) for token ids (B, L), with ``vectors`` (B, L, d) as their word vectors.

        Raises:
            SubjectError: the model does not look up all words of the batch in one call.
        """
        looked_up: list[tuple[int, ...]] = []

        def exchange(module: nn.Module, given: object, found: Tensor) -> Tensor:
            looked_up.append(tuple(found.shape))
            return vectors

        hook = self.module.register_forward_hook(exchange)
        try:
            logits: Tensor = self.model(tokens)
        finally:
            hook.remove()
        if looked_up != [tuple(vectors.shape)]:
            raise SubjectError(
                f"the model looks up word vectors of shapes {looked_up}, not {tuple(vectors.shape)} in one call"
            )
        return logits

    def gradient(self, tokens: Tensor, vectors: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (B, classes) and the gradient (B, L, d) of each sample's loss with respect to its word vectors.

        ``loss`` maps float32 logits to losses (B,). Losses are summed, not averaged, so that a sample's gradient does
        not depend on the rest of the batch. A model that does not depend on its word vectors has gradient zero.
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
    ask = getattr(model.model if isinstance(model, TextModel) else model, "get_input_embeddings", None)
    table = ask() if callable(ask) else None
    if not isinstance(table, nn.Module):
        raise SubjectError(
            f"{type(model).__name__} has no word embedding layer (get_input_embeddings), so gradients with respect to "
            "word vectors do not exist; use attacks that need only logits"
        )
    return table
