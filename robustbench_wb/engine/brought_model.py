"""Identity of a model that somebody brings, and a check that equal identities behave equally.

Beside the code of the model, the identity covers what its code loads and reads while the model is built and first
answers, its first weights, and its tensors that are not among the weights. What all of this misses, like an
environment variable, shows in the logits on fixed inputs: they are kept in the cache and compared whenever the model is
used again.
"""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.engine.device import numerics
from robustbench_wb.engine.torch_state import own_state
from robustbench_wb.errors import SubjectError, UsageError
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.models.batching import trim_padding
from robustbench_wb.models.external import Factory
from robustbench_wb.models.hidden_tensors import hidden_tensors, scripted_code
from robustbench_wb.models.output_check import check_outputs
from robustbench_wb.models.shape import PAD, ImageShape, Shape
from robustbench_wb.models.weights import put_weights, weights_digest, weights_of
from robustbench_wb.spec import Spec, digest

TOLERANCE: Final = 1e-3
"""Largest difference between logits of one model on two processors, relative to the largest logit."""
HALF_TOLERANCE: Final = 0.05
"""Largest difference between logits on two processors, relative to the largest logit, with weights of 16 bits."""
_SAMPLES, _TOKENS, _MOST = 2, 64, 4096
_log = logging.getLogger(__name__)
_met: dict[str, "_Code"] = {}
"""Parts of the code of the models of this process, by the digest of the code; not all of them are kept."""


class _Code(Spec):
    """Digests of the parts of a model's code, by name."""

    parts: dict[str, str]


class _Behaviour(Spec):
    """Logits of a model on fixed inputs."""

    logits: list[float]


class _LastRun(Spec):
    """Code digest of the model that a reference named in the last run."""

    code: str


Kept = TypeVar("Kept", bound=Spec)


@dataclass(frozen=True, eq=False, kw_only=True)
class BroughtModel:
    """A model of somebody, built for the first time."""

    factory: Factory
    model: nn.Module
    """The model as its factory returns it, on its device."""
    code: str
    """Digest of everything that the model computes with, apart from trained weights."""
    shape: Shape
    device: torch.device
    seed: int = 0
    """Seed of the weights before training."""

    def check_behaviour(self, tensors: Mapping[str, Tensor], weights: str, keep: bool) -> None:
        """Compare the logits on fixed inputs with those that a model of the same identity had.

        Args:
            tensors: the trained weights.
            weights: their digest.
            keep: whether parts and logits are kept for later comparisons, if there are none yet.

        Raises:
            SubjectError: the logits differ by more than other processors explain.
        """
        if not self.factory.lasting:
            return
        put_weights(self.model, tensors)
        logits = _fixed_logits(self.model, self.shape, self.device)
        name = digest([self.code, weights, numerics(self.device)])
        before = _read(name, _Behaviour)
        if keep:
            _write(self.code, _met[self.code])
            if self.factory.running is not nullcontext:  # a name in memory may stand for many models
                self._say_what_changed()
            if logits is not None and before is None:
                _write(name, _Behaviour(logits=logits.tolist()))
        if logits is None or before is None:
            return
        known = np.asarray(before.logits, np.float64)
        most = float(np.abs([*known, *logits]).max(initial=1e-6))
        difference = float(np.abs(known - logits).max()) / most if known.shape == logits.shape else np.inf
        half = any(part.dtype in (torch.float16, torch.bfloat16) for part in self.model.parameters())
        if not difference <= (HALF_TOLERANCE if half else TOLERANCE):
            raise SubjectError(
                f"{self.factory.reference} behaves otherwise than before (its logits differ by {difference:.1e} of the "
                "largest), although its code, files and weights are the same: move what it depends on besides, like an "
                f"environment variable, into its file; its earlier logits are in {_path(name)}"
            )

    def _say_what_changed(self) -> None:
        """Warn if the code behind this reference is not that of the last run, and name the parts that changed."""
        seed = [self.seed] if self.seed else []  # another seed may start with other weights
        place = digest([self.factory.reference, str(Path.cwd()), self.shape, *seed])
        last = _read(place, _LastRun)
        if last is not None and last.code != self.code:
            told = changed_parts(last.code, self.code) or "its code changed"
            _log.warning("%s is another model than in the last run: %s", self.factory.reference, told)
        if last is None or last.code != self.code:
            _write(place, _LastRun(code=self.code))


def bring(
    factory: Factory, make: Callable[[], nn.Module], *, base: str, shape: Shape, device: torch.device, seed: int = 0
) -> BroughtModel:
    """Build a model of somebody for the first time, check its outputs, and find its identity.

    Args:
        factory: where the model comes from.
        make: builds the model on the CPU.
        base: digest of what is known before.
        shape: shape of inputs and outputs.
        device: where the model runs.
        seed: seed with which ``make`` draws weights.

    Raises:
        SubjectError: the model cannot be built, or does not behave like a classifier.
    """
    with factory.running():
        model = make()
        # It may bring weights of its own: training that starts elsewhere is another training.
        start, hidden = weights_digest(weights_of(model)), hidden_tensors(model)
        more = {"tensors that are no weights": weights_digest(hidden)} if hidden else {}
        compiled = scripted_code(model)
        more |= {"scripted code": digest(compiled)} if compiled else {}
        model.to(device)
        check_outputs(model, shape, device)
    parts = {**factory.parts(), **more}
    code = digest({"model": base, "start": start} | ({"parts": parts} if parts else {}))
    _met[code] = _Code(parts={**parts, "weights before training": start})
    return BroughtModel(factory=factory, model=model, code=code, shape=shape, device=device, seed=seed)


def changed_parts(old: str, new: str) -> str:
    """What differs between two digests of code: ``layers.py changed; stats.json is new``; empty if it is not known.

    Where the cache has no parts of the old code, the parts of the new code are named.
    """
    one, other = (_met.get(code) or _read(code, _Code) for code in (old, new))
    if other is None:
        return ""
    if one is None:
        return f"one of {', '.join(sorted(other.parts))}: the cache has no earlier digests of them"
    before, after = one.parts, other.parts
    words = {name: "changed" for name in before.keys() & after.keys() if before[name] != after[name]}
    words |= dict.fromkeys(after.keys() - before.keys(), "is new")
    words |= dict.fromkeys(before.keys() - after.keys(), "is gone")
    return "; ".join(f"{name} {word}" for name, word in sorted(words.items()))


def _fixed_logits(model: nn.Module, shape: Shape, device: torch.device) -> NDArray[np.float64] | None:
    """Some logits on fixed inputs, float64 (at most 4096,); None if they are not finite or not repeatable."""
    model.eval()
    inputs, passes = _fixed_inputs(shape).to(device), []
    for _ in range(2):
        with own_state(0, device), torch.no_grad():
            passes.append(model(inputs).detach().double().cpu().numpy().ravel())
    one, other = (logits[:: -(-len(logits) // _MOST)] for logits in passes)
    if not np.isfinite(one).all():
        return None
    repeatable = np.allclose(one, other, rtol=0, atol=TOLERANCE * np.abs(one).max(initial=0.0) / 10)
    return one if repeatable else None


def _fixed_inputs(shape: Shape) -> Tensor:
    random = np.random.Generator(np.random.PCG64(0))
    if isinstance(shape, ImageShape):
        size = (_SAMPLES, shape.channels, shape.height, shape.width)
        return torch.from_numpy((random.integers(0, 256, size) / 255).astype(np.float32))
    tokens = np.full((_SAMPLES, shape.documents, shape.length), PAD)
    length = min(_TOKENS, shape.length)
    tokens[..., :length] = random.integers(1, shape.vocabulary, (_SAMPLES, shape.documents, length))
    return trim_padding(torch.from_numpy(tokens.astype(np.int64)).flatten(1))


def _path(name: str) -> Path:
    return cache_folder("models") / f"{name}.json"


def _read(name: str, kind: type[Kept]) -> Kept | None:
    """A kept value; None if it is not there or damaged: it is written anew then."""
    try:
        found = json.loads(_path(name).read_text(encoding="utf-8"))
        if digest(found["content"]) != found["sha256"]:
            raise ValueError("its bytes are not those that were written")
        return kind.model_validate(found["content"])
    except (FileNotFoundError, UsageError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s cannot be read (%s)", _path(name), error)
        return None


def _write(name: str, content: Spec) -> None:
    text = json.dumps({"content": content.model_dump(), "sha256": content.digest()})
    try:
        write_atomic(_path(name), lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except (OSError, UsageError) as error:  # a cache that is only read
        _log.warning("the identity of the model is not kept: %s", error)
