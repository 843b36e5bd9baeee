"""Constraint of word attacks that keeps the meaning of a text, as far as an encoder and a list of synonyms know it.

The constraint is that of TextFooler (Jin et al. 2020, arXiv 1907.11932, section 3): a lower bound on the cosine
similarity of the whole texts, and replacements that are synonyms. The encoder and the synonyms are the user's.
"""

from collections.abc import Sequence
from fractions import Fraction
from importlib import import_module
from typing import Final, Literal, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.models.tokenizer import Span
from robustbench_wb.spec import Exact, digest
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.text_attacks.synonyms import Synonyms, read_synonyms
from robustbench_wb.stressors.text_attacks.word_attack import TextSearch, WordRateAttack, require_text
from robustbench_wb.stressors.text_constraint import CONSTRAINED, constraint_of

ROUNDING: Final = 1e-4
"""Tolerance of the verification for a cosine: other batches round otherwise."""


class Encoder(Protocol):
    """Interface of sentence encoders, see ``robustbench_wb.models.providers.text_judges``."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that can change a vector."""
        ...

    def embed(self, texts: Sequence[str], *, device: torch.device, batch_size: int) -> Tensor:
        """Vectors of texts, float32 (N, d) of length 1."""
        ...


class Scorer(Protocol):
    """Interface of language models, see ``robustbench_wb.models.providers.text_judges``."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that can change a loss."""
        ...

    def losses(self, texts: Sequence[str], *, device: torch.device) -> Tensor:
        """Mean loss of the tokens of each text in nats, float32 (N,)."""
        ...


_PLACES: Final = ("encoder", "synonyms", "perplexity")
"""Parameters that name a model or a file."""
# Found by name: attacks without such models do not depend on their code, whose digest is part of that of the model.
_JUDGES: Final = "robustbench_wb.models.providers.text_judges"


def find_encoder(reference: str) -> Encoder:
    """Sentence encoder by reference.

    Raises:
        UsageError: it does not exist, or its library is not installed.
        SubjectError: it cannot be loaded.
    """
    found: Encoder = import_module(_JUDGES).load_encoder(reference)
    return found


def find_scorer(reference: str) -> Scorer:
    """Language model by reference.

    Raises:
        UsageError: it does not exist, or its library is not installed.
        SubjectError: it cannot be loaded.
    """
    found: Scorer = import_module(_JUDGES).load_scorer(reference)
    return found


class MeaningAttack(WordRateAttack):
    """Base of attacks on whole words, whose replacements may be bound to keep the meaning of the text."""

    encoder: str | None = Field(default=None, pattern=r"^hf:[^;]+$")
    """Sentence encoder, a model of transformers: its similarity is measured, and bounded by ``cosine``."""
    cosine: Exact | None = Field(default=None, ge=-1, le=1)
    """Smallest cosine similarity of a text to the unperturbed one, an exact fraction; None: not bounded."""
    synonyms: str | None = None
    """File of synonym sets, or WordNet's folder: a word becomes a synonym. None: any word of the training texts."""
    speech: Literal["kept"] | None = None
    """``kept``: only words of a single part of speech are replaced, by words of that part. None: any synonym."""
    perplexity: str | None = Field(default=None, pattern=r"^hf:[^;]+$")
    """Causal language model of transformers: how much less likely it finds a text is measured, and bounds nothing."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Refuse half a constraint."""
        if self.cosine is not None and self.encoder is None:
            raise ValueError("cosine needs encoder=hf:NAME, the sentence encoder that measures it")
        if self.speech is not None and self.synonyms is None:
            raise ValueError("speech=kept needs synonyms=FILE, which knows the parts of speech")
        return self

    @property
    def is_constrained(self) -> bool:
        """Whether the meaning bounds the attack; an encoder alone only measures."""
        return self.cosine is not None or self.synonyms is not None

    @property
    def is_judged(self) -> bool:
        """Whether a model judges the texts, so that ``measures`` has numbers."""
        return self.encoder is not None or self.perplexity is not None

    @property
    def label(self) -> str:
        """Name in tables: a constrained attack is another row than the unconstrained one."""
        return f"{self.name}:{CONSTRAINED}" if self.is_constrained else self.name

    @property
    def threat(self) -> tuple[str, str]:
        """Allowed replacements with the constraint, and strength."""
        constraint = f", {constraint_of(self.signature)}" if self.is_constrained else ""
        return (f"{self.changes}{constraint}", self.strength)

    def code(self) -> str:
        """Digest of the attack's source, the models that judge texts and the synonyms."""
        used = [find_encoder(self.encoder).digest] if self.encoder is not None else []
        used += [find_scorer(self.perplexity).digest] if self.perplexity is not None else []
        used += [found.digest for found in self._synonyms]
        return digest([super().code(), *used]) if used else super().code()

    def refuse_missing(self) -> None:
        """Load the models and the synonyms, so that errors come before any work.

        Raises:
            UsageError: one of them does not exist or cannot be loaded, or the synonyms name no parts of speech.
        """
        try:
            self.code()
        except MeasurementError as error:
            raise UsageError(str(error)) from error

    @property
    def _synonyms(self) -> list[Synonyms]:
        """The synonyms, if the attack is bound to any."""
        return [] if self.synonyms is None else [read_synonyms(self.synonyms, one_speech=self.speech is not None)]

    def replacements(self, batch: SampleBatch, word: str) -> Sequence[str]:
        """Words that may replace a word."""
        found = [one.of(word) for one in self._synonyms]
        return found[0] if found else require_text(batch).lexicon.words

    def changeable(self, batch: SampleBatch, row: int, words: Sequence[Span]) -> list[int]:
        """Numbers of the words of a text that something may replace."""
        text = batch.texts[row]
        return [number for number, span in enumerate(words) if self.replacements(batch, text[slice(*span)])]

    def admits(self, batch: SampleBatch, before: str, after: str) -> bool:
        """Whether the new word occurs in the training texts, or is a synonym of the old one."""
        return after in (require_text(batch).lexicon if self.synonyms is None else self.replacements(batch, before))

    @property
    def unplaced(self) -> str:
        """Signature without the names of models and files, which say where they lie and not what they are."""
        return self.model_copy(update=dict.fromkeys(_PLACES)).signature

    def begin(self, batch: SampleBatch, access: ModelAccess) -> TextSearch:
        """Search among the texts that keep the meaning."""
        if self.encoder is None or self.cosine is None:
            return _UnplacedSearch(batch, access, attack=self)
        encoder = find_encoder(self.encoder)
        return _MeaningSearch(batch, access, attack=self, encoder=encoder, least=self.cosine)

    def measures(self, before: Sequence[str], after: Sequence[str], access: ModelAccess) -> NDArray[np.float32]:
        """What the models say of perturbed texts, (N, 2): cosine similarity to the unperturbed text, and by how much
        the mean loss of its tokens is larger, in nats. NaN without such a model, and for losses of single tokens."""
        found = np.full((len(before), 2), np.nan, np.float32)
        if self.encoder is not None:
            found[:, 0] = _cosines(self.encoder, before, after, access=access)
        if self.perplexity is not None:
            scorer, device = find_scorer(self.perplexity), _device(access)
            old, new = (scorer.losses(texts, device=device).cpu().numpy() for texts in (before, after))
            found[:, 1] = new - old
        return found

    def verify(self, batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> None:
        """Reject texts that the constraint forbids, and what every word attack must not do.

        Raises:
            MeasurementError: the perturbed batch violates the threat model.
        """
        super().verify(batch, perturbed, access)
        if self.encoder is None or self.cosine is None:
            return
        found = _cosines(self.encoder, batch.texts, perturbed.texts or (), access=access)
        if len(found) and float(found.min()) < self.cosine - Fraction(ROUNDING):
            raise MeasurementError(f"{self.signature} lowered the cosine similarity to {found.min():.4f}")


def _device(access: ModelAccess) -> torch.device:
    """Device of the evaluated model."""
    first = next(access.model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


class _Similarity:
    """Cosine similarity to some unperturbed texts, whose vectors are computed once."""

    def __init__(self, encoder: Encoder, texts: Sequence[str], access: ModelAccess) -> None:
        self._encoder, self._texts, self._batch_size = encoder, texts, access.batch_size
        self._device = _device(access)
        self._vectors = self._embed(texts)

    def of(self, rows: Sequence[int], texts: Sequence[str]) -> NDArray[np.float32]:
        """Similarities (N,) of texts to the unperturbed ones in ``rows``, which may repeat."""
        found = np.ones(len(texts), np.float32)
        changed = [at for at, (row, text) in enumerate(zip(rows, texts, strict=True)) if text != self._texts[row]]
        if changed:
            own = self._vectors[torch.tensor([rows[at] for at in changed], device=self._device)]
            found[changed] = (own * self._embed([texts[at] for at in changed])).sum(1).cpu().numpy()
        return found

    def _embed(self, texts: Sequence[str]) -> Tensor:
        return self._encoder.embed(texts, device=self._device, batch_size=self._batch_size)


def _cosines(encoder: str, before: Sequence[str], after: Sequence[str], *, access: ModelAccess) -> NDArray[np.float32]:
    """Cosine similarity of perturbed texts to the unperturbed ones, (N,)."""
    return _Similarity(find_encoder(encoder), before, access).of(range(len(before)), after)


class _UnplacedSearch(TextSearch):
    """Search whose random draws do not depend on where models and synonyms lie.

    An encoder or a language model that only measures therefore measures the texts of the attack without it.
    """

    def __init__(self, batch: SampleBatch, access: ModelAccess, *, attack: MeaningAttack) -> None:
        super().__init__(batch, access)
        self._signature, self._unplaced = attack.signature, attack.unplaced

    def draw(self, rows: Sequence[int], count: int, *, label: str, step: int) -> list[list[int]]:
        """Random integers >= 0, ``count`` for each sample, see ``TextSearch.draw``."""
        return super().draw(rows, count, label=label.replace(self._signature, self._unplaced), step=step)


class _MeaningSearch(_UnplacedSearch):
    """Search that asks the model only about texts which are similar enough to the unperturbed ones."""

    def __init__(
        self,
        batch: SampleBatch,
        access: ModelAccess,
        *,
        attack: MeaningAttack,
        encoder: Encoder,
        least: Fraction,
    ) -> None:
        super().__init__(batch, access, attack=attack)
        self._least, self._similarity = float(least), _Similarity(encoder, batch.texts, access)

    def permitted(self, rows: Sequence[int], candidates: Sequence[Sequence[str]]) -> list[list[int]]:
        """Places, among the candidates of each sample, of those that are similar enough."""
        counts = [len(some) for some in candidates]
        owners = np.repeat(np.array(rows, np.int64), counts).tolist()
        fine = self._similarity.of(owners, [text for some in candidates for text in some]) >= self._least
        parts = np.split(fine, np.cumsum(counts)[:-1]) if counts else []
        return [np.flatnonzero(part).tolist() for part in parts]
