"""The provider ``torchattacks:NAME``: any attack of the torchattacks library as a stressor, with safeguards.

The library draws from the global random generator, which is forked and seeded per batch. Batches have a fixed size,
stated in the signature, because the library's noise depends on it. The library may leave a model in another train/eval
mode, so the mode of every module is restored. The library does not check ranges, so its output is checked here. Its
class ``AutoAttack`` is not AutoAttack (10 steps instead of 100); its rows are named ``torchattacks:AA-10``.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError, UnknownNameError, UsageError
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.registry import suggest_names
from robustbench_wb.source import code_digest
from robustbench_wb.spec import parse_exact
from robustbench_wb.stressors.attacks.attack import reject_outside
from robustbench_wb.stressors.model_access import ModelAccess, predict
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor, build_stressor

_LibraryAttack = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Attack of the library, built for a model: images (B, C, H, W) and labels (B,) to perturbed images."""
_LABELS = {"AA-10": "AutoAttack"}
"""Row names that differ from class names: the library's ``AutoAttack`` is not AutoAttack. Both names can be read
back."""
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
    """One attack of torchattacks with its keyword arguments."""

    name: ClassVar[str] = "torchattacks"
    attack: str
    """Class name in the library."""
    numbers: tuple[tuple[str, str], ...]
    """Keyword arguments as exact text, sorted by name."""
    batch: int = Field(default=128, ge=1)
    """Samples per call of the library; part of the signature because the library's noise depends on it."""

    @property
    def signature(self) -> str:
        """Printed form, like ``torchattacks:PGD;alpha=2/255;eps=8/255;steps=10;batch=128``."""
        numbers = [f"{key}={value}" for key, value in self.numbers]
        label = next((ours for ours, theirs in _LABELS.items() if theirs == self.attack), self.attack)
        return ";".join([f"torchattacks:{label}", *numbers, f"batch={self.batch}"])

    @property
    def strength(self) -> str:
        """The library's ``eps``, empty if it was not given."""
        return dict(self.numbers).get("eps", "")

    def at(self, strength: str) -> "TorchAttack":
        """Build this attack at another eps.

        Raises:
            UsageError: the attack has no eps, or it is not positive.
        """
        return torchattacks_stressor(self.attack, {**dict(self.numbers), "eps": strength, "batch": self.batch})

    def code(self) -> str:
        """Digest of this provider's source and of the library's version."""
        from importlib.metadata import version

        return code_digest(type(self).__module__) + f"+torchattacks-{version('torchattacks')}"

    def adversarial(self) -> bool:
        """Return True: every attack of the library looks for errors."""
        return True

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Run the library's attack, batch by batch.

        Raises:
            MeasurementError: the library raised an exception.
        """
        images = batch.inputs.clone()
        for start in range(0, len(batch.ids), self.batch):
            rows = slice(start, start + self.batch)
            images[rows] = self._attack_batch(batch, rows, access.model)
            access.advance(len(batch.ids[rows]))
        broken = (predict(access.model, images, access.batch_size).argmax(1) != batch.labels).cpu().numpy()
        # The library does not report its cost; the forward pass above is the only one known.
        spent = np.ones(len(batch.ids), np.int32)
        return PerturbedBatch(inputs=images, forwards=spent, backwards=np.zeros_like(spent), broken=broken)

    def _attack_batch(self, batch: SampleBatch, rows: slice, model: nn.Module) -> torch.Tensor:
        seed = rng.stream_key(batch.seed, self.signature, int(batch.ids[rows][0]))
        with _fenced(model, seed), torch.enable_grad():
            try:
                kind = _attack_class(self.attack)
                numbers = {key: _number(value) for key, value in self.numbers}
                if "seed" in inspect.signature(kind).parameters and not numbers.get("seed"):
                    numbers["seed"] = seed % (1 << 31)  # its own default is the clock, or one seed for all batches
                attack = kind(model, **numbers)
                result = attack(batch.inputs[rows].clone(), batch.labels[rows].clone())
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise MeasurementError(f"torchattacks {self.attack} failed: {reason}") from error
        return result.detach().to(batch.inputs.dtype)

    def check(self, clean: torch.Tensor, perturbed: torch.Tensor) -> None:
        """Reject images outside the box, and outside the ball where the attack promises one.

        Raises:
            MeasurementError: an image is outside, or not finite.
        """
        radius = float(parse_exact(self.strength)) if self.strength else 0.0
        norm = self._norm() if self.strength else None
        reject_outside(self.signature, clean, perturbed, norm=norm, radius=radius)

    def _norm(self) -> Norm | None:
        if self.attack in _NO_BALL:
            return None
        l2 = self.attack in _L2 or (self.attack in _BY_ARGUMENT and dict(self.numbers).get("norm") == "L2")
        return L2_NORM if l2 else LINF


def torchattacks_stressor(name: str, numbers: dict[str, object]) -> TorchAttack:
    """Build the stressor for one attack class of the library.

    Raises:
        UnknownNameError: the library has no such attack.
        UsageError: an argument that the attack does not take, or an eps that is not positive.
    """
    name = _LABELS.get(name, name)
    arguments = inspect.signature(_attack_class(name)).parameters
    ours = {key: numbers[key] for key in ("batch",) if key in numbers}
    given = {key: str(value) for key, value in sorted(numbers.items()) if key not in ours}
    for key in given:
        if key not in arguments or key == "model":
            hint = suggest_names(key, [known for known in arguments if known != "model"])
            raise UsageError(f"torchattacks {name} has no parameter {key!r}; {hint}")
    if "eps" in given:
        eps = parse_exact(given["eps"])
        if eps <= 0:
            raise UsageError(f"stressor 'torchattacks:{name}': eps must be greater than 0 (got {eps})")
        given["eps"] = str(eps)
    return build_stressor(TorchAttack, {"attack": name, "numbers": tuple(given.items()), **ours})


def _attack_class(name: str) -> Callable[..., _LibraryAttack]:
    import torchattacks

    base = torchattacks.attack.Attack
    known = [key for key, kind in vars(torchattacks).items() if inspect.isclass(kind) and issubclass(kind, base)]
    if name not in known:
        raise UnknownNameError(f"torchattacks has no attack {name!r}; {suggest_names(name, known)}")
    found: Callable[..., _LibraryAttack] = getattr(torchattacks, name)
    return found


def _number(text: str) -> object:
    """Convert text to the type that the library expects: booleans, integers, fractions as floats, other text
    unchanged."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return text
    return int(value) if value.denominator == 1 and "/" not in text and "." not in text else float(value)


@contextmanager
def _fenced(model: nn.Module, seed: int) -> Iterator[None]:
    """Fork and seed the global random generators; restore the mode of every module afterwards."""
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
