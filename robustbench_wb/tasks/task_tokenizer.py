"""Special token ids of all text tasks, and the tokenizers that tasks train."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.models.shape import PAD
from robustbench_wb.models.tokenizer import Span
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN, CLS, SEP, MASK = 1, 2, 3, 4
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Special tokens, with the ids 0 to 4."""
_CHUNK = 1024


class Encoding(Spec):
    """Conversion of texts to token ids.

    ``bpe`` is byte-pair encoding of lower-cased texts, trained on the training texts (Sennrich et al. 2016, over bytes
    as in GPT-2): every text can be encoded, and decoding is exact. (WordPiece, as the ``tokenizers`` library trains it,
    numbers its words differently in every process.) ``bytes`` uses UTF-8 bytes and is not trained.
    """

    kind: Literal["bpe", "bytes"]
    length: int = Field(ge=3)
    """Longest sequence in tokens, special ones included; longer texts are cut at the end."""
    vocabulary: int = Field(default=256 + len(SPECIAL), ge=len(SPECIAL))
    """Largest number of ids of ``bpe``."""


def train_tokenizer(texts: Sequence[str], encoding: Encoding) -> "Tokenizer":
    """Train a tokenizer of the ``tokenizers`` library. Equal texts give equal tokenizers."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if encoding.kind == "bytes":
        ids = {token: index for index, token in enumerate([*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))])}
        tokenizer = Tokenizer(models.BPE(ids, [], byte_fallback=True, unk_token=SPECIAL[UNKNOWN]))
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        return tokenizer
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=encoding.vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encode(tokenizer: "Tokenizer", texts: Sequence[str], length: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Encode N texts as ``[CLS] text [SEP]``, cut to ``length`` tokens and padded.

    Returns:
        Token ids, int32 (N, length), and the number of tokens of each text before cutting, int32 (N,).
    """
    rows, sizes = np.full((len(texts), length), PAD, np.int32), np.zeros(len(texts), np.int32)
    for row, ids in enumerate(_ids(tokenizer, texts)):
        kept, sizes[row] = [CLS, *ids[: length - 2], SEP], len(ids) + 2
        rows[row, : len(kept)] = kept
    return rows, sizes


def encode_stream(tokenizer: "Tokenizer", texts: Sequence[str], length: int) -> NDArray[np.int32]:
    """Encode all texts as one stream, each ended by [SEP], cut into rows (N, length); an incomplete row is dropped."""
    stream: list[int] = []
    for ids in _ids(tokenizer, texts):
        stream.extend(ids)
        stream.append(SEP)
    whole = len(stream) // length
    return np.array(stream[: whole * length], np.int32).reshape(whole, length)


def _ids(tokenizer: "Tokenizer", texts: Sequence[str]) -> Iterator[list[int]]:
    if tokenizer.pre_tokenizer is None:  # encoding "bytes"
        for text in texts:
            yield [byte + len(SPECIAL) for byte in text.encode()]
        return
    rest = iter(texts)
    while part := list(islice(rest, _CHUNK)):  # encodings of a whole corpus at once take much memory
        for found in tokenizer.encode_batch_fast(part, add_special_tokens=False):
            yield found.ids


@dataclass(frozen=True)
class TaskTokenizer:
    """Tokenizer that a task trained; implements ``Tokenizer``."""

    json: str
    """Serialised tokenizer in the format of the ``tokenizers`` library."""
    special: frozenset[int] = field(default=frozenset(range(len(SPECIAL))), init=False)
    mask: int = field(default=MASK, init=False)
    unknown: int = field(default=UNKNOWN, init=False)

    @cached_property
    def vocabulary(self) -> int:
        """Number of token ids, which are all smaller."""
        ids: dict[str, int] = json.loads(self.json)["model"]["vocab"]
        return 1 + max(ids.values())

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.json)

    @cached_property
    def _within(self) -> "Tokenizer":
        """Tokenizer that does not put a space in front of the text."""
        from tokenizers import Tokenizer

        found = json.loads(self.json)
        if found["pre_tokenizer"] is not None:
            found["pre_tokenizer"]["add_prefix_space"] = False
        return Tokenizer.from_str(json.dumps(found))

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """UTF-8 bytes of each id, empty for special ids.

        Concatenated over the ids of a text, they give the text as the tokenizer sees it: with ``bpe``, lower-cased and
        with a space in front.
        """
        if self._tokenizer.pre_tokenizer is None:
            return (*(b"" for _ in SPECIAL), *(bytes([byte]) for byte in range(256)))
        letters = _byte_letters()
        names = (self._tokenizer.id_to_token(index) or "" for index in range(self.vocabulary))
        return tuple(b"" if name in SPECIAL else bytes(letters[letter] for letter in name) for name in names)

    def encode_part(self, text: str) -> list[int]:
        """Encode a part of a text, without special ids and without a space in front."""
        return next(_ids(self._within, [text]))

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        """Encode N texts as ``[CLS] text [SEP]``, cut to ``length`` tokens and padded, int32 (N, length)."""
        return encode(self._tokenizer, texts, length)[0]

    def spans(self, texts: Sequence[str], length: int) -> list[list[Span]]:
        """Character range (start, end) of every token of each text; (0, 0) for [CLS] and [SEP]."""
        if self._tokenizer.pre_tokenizer is None:  # encoding "bytes": a character has one to four
            found = [[(at, at + 1) for at, letter in enumerate(text) for _ in letter.encode()] for text in texts]
        else:
            found = [one.offsets for one in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        return [[(0, 0), *spans[: length - 2], (0, 0)] for spans in found]


def _byte_letters() -> dict[str, int]:
    """Byte for each character of byte-level BPE tokens (Radford et al. 2019, GPT-2).

    Printable Latin-1 characters stand for themselves; the other bytes are written as the characters from 256 on.
    """
    plain = (*range(33, 127), *range(161, 173), *range(174, 256))
    others = (byte for byte in range(256) if byte not in plain)
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}
