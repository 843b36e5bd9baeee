"""Models of transformers that judge perturbed texts: sentence encoders and language models.

Code from the hub is never run, and weights are read from safetensors only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb.errors import SubjectError, UsageError, first_line
from robustbench_wb.models.batching import batches, to_inputs
from robustbench_wb.models.external import load_factory
from robustbench_wb.models.providers import library
from robustbench_wb.models.providers.text_model import ModelTokenizer
from robustbench_wb.models.shape import PAD
from robustbench_wb.models.weights import weights_digest, weights_of
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest

PREFIX: Final = "hf:"
LONGEST: Final = 512
"""Tokens of a text that are read at most; the model's own limit may be lower."""
SCORED: Final = 8
"""Texts that a language model scores at a time: it has a logit per token and word of its vocabulary."""
_UNUSED: Final = "pooler."
"""Beginning of the names of parameters that have no part in hidden states; some files lack them."""


class TextJudge:
    """A model of transformers with its tokenizer."""

    def __init__(self, reference: str, kind: Literal["AutoModel", "AutoModelForCausalLM"]) -> None:
        """Load a model; ``kind`` is the loader of the library.

        Raises:
            UsageError: see ``load_encoder``.
            SubjectError: see ``load_encoder``.
        """
        self._model, self._tokenizer, self._source = _load(reference, kind)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over weights, configuration, tokenizer, library releases and the code of this module."""
        weights = {name: one for name, one in weights_of(self._model).items() if not name.startswith(_UNUSED)}
        return digest([self._source, weights_digest(weights), code_digest(__name__)])

    def _tokens(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """Token ids (N, L), padded with 0 on the right; the model is moved to their device."""
        self._model.to(device)
        return to_inputs(self._tokenizer.encode(texts, min(LONGEST, self._tokenizer.longest)), device)


class SentenceEncoder(TextJudge):
    """Encoder of texts: one vector of length 1 for each text."""

    @torch.no_grad()
    def embed(self, texts: Sequence[str], *, device: torch.device, batch_size: int) -> Tensor:
        """Vectors of texts, float32 (N, d) of length 1, on the device.

        A vector is the mean of the last hidden states of all tokens, special ones included, as in Sentence-BERT
        (Reimers & Gurevych 2019, section 3). Tokens behind the encoder's limit are not read.

        Raises:
            SubjectError: a vector is not finite.
        """
        found = torch.empty(len(texts), 0, device=device)
        for rows, part in batches(self._tokens(texts, device), batch_size):
            real = part != PAD
            answer = self._model(input_ids=self._tokenizer.swap(part), attention_mask=real.long())
            summed = (answer.last_hidden_state.float() * real[:, :, None]).sum(1)
            found = found if found.shape[1] else summed.new_empty(len(texts), summed.shape[1])
            found[rows] = summed / real.sum(1, keepdim=True).clamp(min=1)
        if not bool(torch.isfinite(found).all()):
            raise SubjectError("the sentence encoder returned numbers that are not finite")
        return F.normalize(found, dim=1)


class LanguageScorer(TextJudge):
    """Language model that says how likely texts are."""

    @torch.no_grad()
    def losses(self, texts: Sequence[str], *, device: torch.device) -> Tensor:
        """Mean loss in nats of the tokens of each text but the first, float32 (N,); NaN for texts of a single token.

        Its exponential is the perplexity of the text. Tokens behind the model's limit are not scored.
        """
        found = torch.empty(len(texts), device=device)
        for rows, part in batches(self._tokens(texts, device), SCORED):
            real, own = part != PAD, self._tokenizer.swap(part)
            logits = self._model(input_ids=own, attention_mask=real.long()).logits.float()
            losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), own[:, 1:], reduction="none")
            found[rows] = (losses * real[:, 1:]).sum(1) / real[:, 1:].sum(1)
        return found


@lru_cache(maxsize=2)
def load_encoder(reference: str) -> SentenceEncoder:
    """Load a sentence encoder, once per process.

    Args:
        reference: ``hf:`` and the name of a model on the hub, or of a folder that ``save_pretrained`` wrote.

    Raises:
        UsageError: the library is not installed, the model does not exist, or it is stored as a pickle.
        SubjectError: its tokenizer or weights cannot be loaded, or its files lack weights.
    """
    return SentenceEncoder(reference, "AutoModel")


@lru_cache(maxsize=2)
def load_scorer(reference: str) -> LanguageScorer:
    """Load a causal language model, once per process; see ``load_encoder``.

    Raises:
        UsageError: see ``load_encoder``.
        SubjectError: see ``load_encoder``.
    """
    return LanguageScorer(reference, "AutoModelForCausalLM")


def _load(reference: str, kind: Literal["AutoModel", "AutoModelForCausalLM"]) -> tuple[nn.Module, ModelTokenizer, str]:
    """The model in evaluation mode, its tokenizer, and the digest of what is known of it without weights."""
    factory = load_factory(reference, trained=False)
    tokenizer = None if factory.tokenizer is None else factory.tokenizer()
    if not isinstance(tokenizer, ModelTokenizer):
        raise UsageError(f"{reference} has no tokenizer of transformers; write {PREFIX}NAME")
    transformers = library.load_library("transformers", "hf")
    place = str(Path(reference.removeprefix(PREFIX)).expanduser())
    # Parameters that the files lack are drawn at random; nobody else's draws may change by that.
    with torch.random.fork_rng(devices=[]), _quiet(transformers):
        try:
            model, report = getattr(transformers, kind).from_pretrained(
                place, output_loading_info=True, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            )
        except Exception as error:
            raise SubjectError(f"{reference} cannot be loaded as {kind}: {first_line(error)}") from error
    missing = sorted(name for name in map(str, report["missing_keys"]) if not name.startswith(_UNUSED))
    if missing:
        raise SubjectError(f"{reference} has no weights for {missing[0]}, which would be random")
    model.eval().requires_grad_(False)
    return model, tokenizer, factory.code_digest


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """Silence the library's report on weights that are not used."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
