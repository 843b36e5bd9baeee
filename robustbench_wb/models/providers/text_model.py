"""Text classifiers of transformers, adapted to the token ids used here: 0 is padding, on the right."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.errors import SubjectError
from robustbench_wb.models.batching import trim_padding
from robustbench_wb.models.shape import PAD
from robustbench_wb.models.tokenizer import Span


class LibraryTokenizer(Protocol):
    """Interface of the tokenizers of transformers, as far as it is used here."""

    pad_token_id: int | None
    eos_token_id: int | None
    mask_token_id: int | None
    unk_token_id: int | None
    all_special_ids: list[int]
    model_max_length: int

    def __len__(self) -> int:
        """Return the number of tokens in the vocabulary."""
        ...

    def __call__(
        self,
        text: list[str],
        *,
        truncation: bool,
        max_length: int,
        padding: bool,
        return_offsets_mapping: bool,
    ) -> Mapping[str, list[Any]]:
        """Tokenise texts; the result has ``input_ids`` and, on request, ``offset_mapping``."""
        ...


class ModelTokenizer:
    """Tokenizer of an external model, with its padding id and id 0 exchanged.

    If the tokenizer has no padding token, its end-of-text token is used as padding.
    """

    def __init__(self, tokenizer: LibraryTokenizer, positions: int | None) -> None:
        """Wrap ``tokenizer``; ``positions`` is the model's maximal number of tokens, if known.

        Raises:
            SubjectError: the tokenizer has neither a padding nor an end-of-text token.
        """
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        if pad is None:
            raise SubjectError(
                "the tokenizer has no padding token; set tokenizer.pad_token and save the tokenizer again"
            )
        self.tokenizer, self.pad = tokenizer, int(pad)
        self.vocabulary = len(tokenizer)
        self.longest = min(int(tokenizer.model_max_length), positions or int(tokenizer.model_max_length))
        """Maximal number of tokens per text."""
        named = torch.tensor([*tokenizer.all_special_ids, self.pad], dtype=torch.int64)
        self.special = frozenset(self.swap(named).tolist())
        self.mask, self.unknown = self._id(tokenizer.mask_token_id), self._id(tokenizer.unk_token_id)

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        """Encode texts as ids, int32 (N, length), with special tokens.

        Texts are truncated to ``length`` or the model's own limit, and padded with 0 on the right.
        """
        rows = np.full((len(texts), length), PAD, np.int32)
        if not len(texts):
            return rows
        for row, ids in zip(rows, self._cut(texts, length)["input_ids"], strict=True):
            row[: len(ids)] = self.swap(torch.tensor(ids, dtype=torch.int64)).numpy()
        return rows

    def spans(self, texts: Sequence[str], length: int) -> list[list[Span]]:
        """Return the spans of each text's tokens, in characters; (0, 0) for special tokens."""
        found: list[list[Span]] = self._cut(texts, length, offsets=True)["offset_mapping"]
        return found

    def _cut(self, texts: Sequence[str], length: int, offsets: bool = False) -> Mapping[str, list[Any]]:
        return self.tokenizer(
            list(texts),
            truncation=True,
            max_length=min(length, self.longest),
            padding=False,
            return_offsets_mapping=offsets,
        )

    def _id(self, token: int | None) -> int | None:
        """Id here of the tokenizer's id ``token``."""
        return None if token is None else int(self.swap(torch.tensor(token)))

    def swap(self, ids: Tensor) -> Tensor:
        """Exchange 0 and the padding id in token ids; this function is its own inverse."""
        return torch.where(ids == PAD, self.pad, torch.where(ids == self.pad, PAD, ids))


class TextModel(nn.Module):
    """Text classifier of transformers: maps ids of its ``ModelTokenizer``, int64 (B, L), to logits (B, classes).

    The attention mask follows from the ids.
    """

    def __init__(self, model: nn.Module, encoder: ModelTokenizer, fresh_head: bool) -> None:
        super().__init__()
        self.model, self.encoder, self.fresh_head = model, encoder, fresh_head
        config: Any = model.config
        if config.pad_token_id is None:  # models that classify at the last real token need it
            config.pad_token_id = encoder.pad

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        """Encode texts as ids, int32 (N, length), padded with 0 on the right."""
        return self.encoder.encode(texts, length)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids (B, L) to logits (B, classes).

        Columns that hold only padding are removed first, since L may exceed the model's number of positions.
        """
        tokens = trim_padding(tokens)
        answer = self.model(input_ids=self.encoder.swap(tokens), attention_mask=(tokens != PAD).long())
        logits: Tensor = answer.logits
        return logits
