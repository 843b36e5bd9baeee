"""Token ids that every text task has, and the tokenizers that the tasks train."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.models.shape import PAD
from robustbench_wb.models.tokenizer import Span
from robustbench_wb.spec import Spec

UNKNOWN, CLS, SEP, MASK = 1, 2, 3, 4
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Their ids are 0 to 4."""
_CHUNK = 1024


class Encoding(Spec):
    """How texts become token ids.

    ``bpe`` learns merges of bytes from the training texts, lower-cased (Sennrich et al. 2016, over bytes as in GPT-2):
    no text is unknown to it, and ids go back to the very text. (WordPiece as the ``tokenizers`` library learns it
    numbers its words differently in every process.) ``bytes`` takes the UTF-8 bytes as they are: nothing is learnt.
    """

    kind: Literal["bpe", "bytes"]
    length: int = Field(ge=3)
    """Longest sequence in tokens; longer texts are cut at the end."""
    vocabulary: int = Field(default=256 + len(SPECIAL), ge=len(SPECIAL))
    """Most ids there may be."""


def train_tokenizer(texts: Sequence[str], encoding: Encoding) -> Any:
    """A tokenizer of the ``tokenizers`` library for these texts. The same texts give the same tokenizer."""
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


def encode(tokenizer: Any, texts: Sequence[str], length: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """``[CLS] text [SEP]``, cut to ``length`` tokens and padded, (N, length); and how many there are uncut, (N,)."""
    rows, sizes = np.full((len(texts), length), PAD, np.int32), np.zeros(len(texts), np.int32)
    for row, ids in enumerate(_ids(tokenizer, texts)):
        kept, sizes[row] = [CLS, *ids[: length - 2], SEP], len(ids) + 2
        rows[row, : len(kept)] = kept
    return rows, sizes


def encode_stream(tokenizer: Any, texts: Sequence[str], length: int) -> NDArray[np.int32]:
    """All texts in one stream, each ended by [SEP], cut into rows of ``length`` ids; the rest is dropped."""
    stream: list[int] = []
    for ids in _ids(tokenizer, texts):
        stream.extend(ids)
        stream.append(SEP)
    whole = len(stream) // length
    return np.array(stream[: whole * length], np.int32).reshape(whole, length)


def _ids(tokenizer: Any, texts: Sequence[str]) -> Iterator[list[int]]:
    if tokenizer.pre_tokenizer is None:  # bytes: no need to ask the library
        for text in texts:
            yield [byte + len(SPECIAL) for byte in text.encode()]
        return
    rest = iter(texts)
    while part := list(islice(rest, _CHUNK)):  # the memory of a whole corpus of encodings is large
        for found in tokenizer.encode_batch_fast(part, add_special_tokens=False):
            yield found.ids


@dataclass(frozen=True)
class TaskTokenizer:
    """A task's own tokenizer (:class:`~robustbench_wb.models.tokenizer.Tokenizer`)."""

    json: str
    """As the ``tokenizers`` library writes it."""
    special: frozenset[int] = field(default=frozenset(range(len(SPECIAL))), init=False)
    mask: int = field(default=MASK, init=False)
    unknown: int = field(default=UNKNOWN, init=False)

    @cached_property
    def vocabulary(self) -> int:
        """All ids are below it."""
        ids: dict[str, int] = json.loads(self.json)["model"]["vocab"]
        return 1 + max(ids.values())

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.json)

    @cached_property
    def _within(self) -> Any:
        """The same without a space before a text that begins with none."""
        from tokenizers import Tokenizer

        found = json.loads(self.json)
        if found["pre_tokenizer"] is not None:
            found["pre_tokenizer"]["add_prefix_space"] = False
        return Tokenizer.from_str(json.dumps(found))

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The UTF-8 bytes that each id stands for; none for special ones. Those of a text's ids, in a row, are the text
        as the tokenizer sees it: lower-cased, with a space in front, except where ids are bytes."""
        if self._tokenizer.pre_tokenizer is None:
            return (*(b"" for _ in SPECIAL), *(bytes([byte]) for byte in range(256)))
        letters = _byte_letters()
        names = (self._tokenizer.id_to_token(index) for index in range(self.vocabulary))
        return tuple(b"" if name in SPECIAL else bytes(letters[letter] for letter in name) for name in names)

    def within(self, text: str) -> list[int]:
        """The ids of a part of a text: no special ones, and no space put in front."""
        return next(_ids(self._within, [text]))

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        """``[CLS] text [SEP]``, cut to ``length`` tokens and padded, (N, length)."""
        return encode(self._tokenizer, texts, length)[0]

    def spans(self, texts: Sequence[str], length: int) -> list[list[Span]]:
        """For each text where its tokens stand; (0, 0) for the first and the last."""
        if self._tokenizer.pre_tokenizer is None:  # bytes: a letter has one to four
            found = [[(at, at + 1) for at, letter in enumerate(text) for _ in letter.encode()] for text in texts]
        else:
            found = [one.offsets for one in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        return [[(0, 0), *spans[: length - 2], (0, 0)] for spans in found]


def _byte_letters() -> dict[str, int]:
    """The byte for each letter that byte-level BPE writes bytes with (Radford et al. 2019, GPT-2): printable characters
    of Latin-1 stand for themselves, all other bytes for the letters from 256 on."""
    plain = (*range(33, 127), *range(161, 173), *range(174, 256))
    others = (byte for byte in range(256) if byte not in plain)
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}
