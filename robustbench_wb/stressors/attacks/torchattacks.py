"""The provider ``torchattacks:NAME``: any attack of that library as a stressor, with its traps fenced.

The library draws from the global generator, so that is forked and seeded per batch; batches have a fixed size of
their own, stated in the signature, because its noise depends on them. It switches train/eval modes and leaves the
last switch behind, so every module's mode is put back. It does not check ranges, so its output is checked here.
Its class ``AutoAttack`` is not AutoAttack (10 steps instead of 100); its rows are named ``torchattacks:AA-10``.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError, UnknownNameError, UsageError
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.registry import suggest
from robustbench_wb.source import code_digest
from robustbench_wb.spec import parse_exact
from robustbench_wb.stressors.attacks.attack import refuse_outside
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch, Stressor, build_value, predict

_LABELS = {"AA-10": "AutoAttack"}
"""What the library calls AutoAttack is not: its rows bear another name, which is read back as well."""
_L2 = {"PGDL2", "PGDRSL2"}
_BY_ARGUMENT = {"APGD", "APGDT", "FAB", "Square", "AutoAttack"}
_NO_BALL = {
    "VANILA",
    "GN",
    "CW",
    "CWL2",
    "DeepFool",
    "SparseFool",
    "OnePixel",
    "Pixle",
    "JSMA",
    "EADL1",
    "EADEN",
}


class TorchAttack(Stressor):
    """One attack of torchattacks with its keyword numbers."""

    name: ClassVar[str] = "torchattacks"
    attack: str
    """Class name in the library."""
    numbers: tuple[tuple[str, str], ...]
    """Keyword arguments as exact text, sorted by name."""
    batch: int = Field(default=128, ge=1)
    """Samples per call of the library; part of the signature because its noise depends on it."""

    @property
    def signature(self) -> str:
        """Like ``torchattacks:PGD;alpha=2/255;eps=8/255;steps=10;batch=128``."""
        numbers = [f"{key}={value}" for key, value in self.numbers]
        label = next((ours for ours, theirs in _LABELS.items() if theirs == self.attack), self.attack)
        return ";".join([f"torchattacks:{label}", *numbers, f"batch={self.batch}"])

    @property
    def strength(self) -> str:
        """The library's ``eps``, if given."""
        return dict(self.numbers).get("eps", "")

    def at(self, strength: str) -> "TorchAttack":
        """The same attack at another eps.

        Raises:
            UsageError: the attack has no eps, or it is not positive.
        """
        return provide(self.attack, {**dict(self.numbers), "eps": strength, "batch": self.batch})

    def code(self) -> str:
        """Digest of this provider's source and of the library's release."""
        from importlib.metadata import version

        return code_digest(type(self).__module__) + f"+torchattacks-{version('torchattacks')}"

    def adversarial(self) -> bool:
        """Always: it looks for errors."""
        return True

    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """Run the library batch by batch.

        Raises:
            MeasurementError: the library raised.
        """
        images = job.inputs.clone()
        for start in range(0, len(job.ids), self.batch):
            rows = slice(start, start + self.batch)
            images[rows] = self._attack_batch(job, rows)
            job.advance(len(job.ids[rows]))
        broken = (predict(job.model, images, job.batch).argmax(1) != job.labels).cpu().numpy()
        # The library does not say what it spent; the only pass we can vouch for is the one above.
        spent = np.ones(len(job.ids), np.int32)
        return PerturbedBatch(images, spent, np.zeros_like(spent), broken)

    def _attack_batch(self, job: SampleBatch, rows: slice) -> torch.Tensor:
        seed = rng.stream_key(job.seed, self.signature, int(job.ids[rows][0]))
        with _fenced(job.model, seed), torch.enable_grad():
            try:
                kind = _attack_class(self.attack)
                numbers = {key: _number(value) for key, value in self.numbers}
                if "seed" in inspect.signature(kind).parameters and not numbers.get("seed"):
                    numbers["seed"] = seed % (1 << 31)  # the library's own are the clock, or the same in every batch
                attack = kind(job.model, **numbers)
                result: torch.Tensor = attack(job.inputs[rows].clone(), job.labels[rows].clone())
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise MeasurementError(f"torchattacks {self.attack} failed: {reason}") from error
        return result.detach().to(job.inputs.dtype)

    def check(self, clean: torch.Tensor, stressed: torch.Tensor) -> None:
        """Refuse images outside the box, and outside the ball where the attack promises one."""
        radius = float(parse_exact(self.strength)) if self.strength else 0.0
        refuse_outside(self.signature, clean, stressed, self._norm() if self.strength else None, radius)

    def _norm(self) -> Norm | None:
        if self.attack in _NO_BALL:
            return None
        l2 = self.attack in _L2 or (self.attack in _BY_ARGUMENT and dict(self.numbers).get("norm") == "L2")
        return L2_NORM if l2 else LINF


def provide(name: str, numbers: dict[str, object]) -> TorchAttack:
    """The provider's stressor for one attack class.

    Raises:
        UnknownNameError: the library has no such attack.
        UsageError: an argument it does not take, or an eps that is not positive.
    """
    name = _LABELS.get(name, name)
    arguments = inspect.signature(_attack_class(name)).parameters
    ours = {key: numbers[key] for key in ("batch",) if key in numbers}
    given = {key: str(value) for key, value in sorted(numbers.items()) if key not in ours}
    for key in given:
        if key not in arguments or key == "model":
            known = ", ".join(key for key in arguments if key != "model")
            raise UsageError(f"torchattacks {name} takes no {key!r}; it takes: {known}")
    if "eps" in given:
        eps = parse_exact(given["eps"])
        if eps <= 0:
            raise UsageError(f"stressor 'torchattacks:{name}': eps must be greater than 0 (got {eps})")
        given["eps"] = str(eps)
    return build_value(TorchAttack, {"attack": name, "numbers": tuple(given.items()), **ours})


def _attack_class(name: str) -> Any:
    import torchattacks

    base = torchattacks.attack.Attack
    known = [key for key, kind in vars(torchattacks).items() if inspect.isclass(kind) and issubclass(kind, base)]
    if name not in known:
        raise UnknownNameError(f"torchattacks has no attack {name!r}; {suggest(name, known)}")
    return getattr(torchattacks, name)


def _number(text: str) -> object:
    """Text to what the library expects: true/false, whole numbers, fractions as floats, names as they are."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return text
    return int(value) if value.denominator == 1 and "/" not in text and "." not in text else float(value)


@contextmanager
def _fenced(model: nn.Module, seed: int) -> Iterator[None]:
    """Global generators forked and seeded; every module's mode put back afterwards."""
    modes = {module: module.training for module in model.modules()}
    state = np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % (1 << 32))
        try:
            yield
        finally:
            np.random.set_state(state)
            for module, training in modes.items():
                module.training = training
