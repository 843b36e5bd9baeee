"""A text classifier of transformers behind the harness's rule for token ids: 0 is padding, on the right."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.errors import SubjectError
from robustbench_wb.models.inputs import trim
from robustbench_wb.models.shape import PAD
from robustbench_wb.models.tokenizer import Span


class Encoder:
    """A model's own tokenizer. Ids are the tokenizer's, but its padding id and 0 have changed places.

    A tokenizer without padding lends its end-of-text id for it.
    """

    def __init__(self, tokenizer: Any, positions: int | None) -> None:
        """``positions``: how many tokens the model has places for, if it says so.

        Raises:
            SubjectError: the tokenizer has neither padding nor end of text.
        """
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        if pad is None:
            raise SubjectError("the tokenizer has no padding token; set tokenizer.pad_token and save it again")
        self.tokenizer, self.pad = tokenizer, int(pad)
        self.vocabulary = len(tokenizer)
        self.longest = min(int(tokenizer.model_max_length), positions or int(tokenizer.model_max_length))
        """Most tokens of one text."""
        named = torch.tensor([*tokenizer.all_special_ids, self.pad], dtype=torch.int64)
        self.special = frozenset(self.swap(named).tolist())
        self.mask, self.unknown = self._id(tokenizer.mask_token_id), self._id(tokenizer.unk_token_id)

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        """Texts to ids, int32 (N, length), special tokens included, cut at ``length`` or at the model's own limit."""
        rows = np.full((len(texts), length), PAD, np.int32)
        if not len(texts):
            return rows
        for row, ids in zip(rows, self._cut(texts, length)["input_ids"], strict=True):
            row[: len(ids)] = self.swap(torch.tensor(ids, dtype=torch.int64)).numpy()
        return rows

    def spans(self, texts: Sequence[str], length: int) -> list[list[Span]]:
        """For each text where its tokens stand; (0, 0) for special ones."""
        found: list[list[Span]] = self._cut(texts, length, return_offsets_mapping=True)["offset_mapping"]
        return found

    def _cut(self, texts: Sequence[str], length: int, **more: bool) -> Any:
        limit = min(length, self.longest)
        return self.tokenizer(list(texts), truncation=True, max_length=limit, padding=False, **more)

    def _id(self, token: int | None) -> int | None:
        """An id of the tokenizer as the model is given it."""
        return None if token is None else int(self.swap(torch.tensor(token)))

    def swap(self, ids: Tensor) -> Tensor:
        """Exchange 0 and the padding id; doing it twice changes nothing."""
        return torch.where(ids == PAD, self.pad, torch.where(ids == self.pad, PAD, ids))


class Texts(nn.Module):
    """Ids of :class:`Encoder`, int64 (B, L), to logits (B, classes). What is padding follows from the ids."""

    def __init__(self, model: nn.Module, encoder: Encoder, fresh_head: bool) -> None:
        super().__init__()
        self.model, self.encoder, self.fresh_head = model, encoder, fresh_head
        config: Any = model.config
        if config.pad_token_id is None:  # models that answer at the last real token look for it
            config.pad_token_id = encoder.pad

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        """Texts to ids, int32 (N, length), padded with 0 on the right."""
        return self.encoder.encode(texts, length)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, classes). Columns of padding alone are cut off: they may be more than the model has places for."""
        tokens = trim(tokens)
        answer = self.model(input_ids=self.encoder.swap(tokens), attention_mask=(tokens != PAD).long())
        logits: Tensor = answer.logits
        return logits
