"""Attacks of this package and of other libraries in one ball, behind one signature.

APGD, FAB, FMN and DDN take 100 steps, as in AutoAttack; plain projected gradient descent takes 40 of eps / 8, and
Square by itself 1,000 queries (the ensembles have one of 5,000). Carlini & Wagner's attack takes 5 x 100 steps in
foolbox, whose own number is 9 x 10,000. All other numbers are those of the library. Attacks that look for the nearest
error do not know the ball: their perturbation is drawn into it, as foolbox does.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import torch
from subjects import AttackedModel
from torch import Tensor

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.catalogue import parse_stressor

ENSEMBLES: Final = ("autoattack-{norm}", "strong-{norm}", "quick-{norm}")
SINGLE: Final = ("pgd-{norm};steps=40", "fmn-{norm};steps=100")
TORCHATTACKS: Final = {
    "linf": (
        *("PGD;eps={eps};alpha={step};steps=40", "MIFGSM;eps={eps};alpha={step};steps=40"),
        *("TPGD;eps={eps};alpha={step};steps=40", "Jitter;eps={eps};alpha={step};steps=40"),
    ),
    "l2": ("PGDL2;eps={eps};alpha={step};steps=40", "CW;steps=100", "DeepFool"),
}
TORCHATTACKS_BOTH: Final = (
    *("APGD;norm={norm};eps={eps};steps=100", "APGD;norm={norm};eps={eps};steps=100;loss=dlr"),
    *("APGDT;norm={norm};eps={eps};steps=100", "FAB;norm={norm};eps={eps};steps=100;multi_targeted=True"),
    "Square;norm={norm};eps={eps};n_queries=1000",
)

NORMS: Final[dict[str, Norm]] = {"linf": LINF, "l2": L2_NORM}


@dataclass(frozen=True, kw_only=True)
class Ball:
    """Norm and radius of a threat model."""

    norm: str
    """``linf`` or ``l2``."""
    eps: Fraction
    """Radius in units of the pixel range."""

    def clipped(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        """Perturbed images (N, C, H, W), drawn toward the clean ones until they lie in the ball and in [0, 1]."""
        norm = NORMS[self.norm]
        radius = torch.full((len(clean), 1, 1, 1), float(self.eps))
        return (clean + norm.project(perturbed.clamp(0, 1) - clean, radius)).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One attack with its numbers."""

    name: str
    version: str
    """Digest of its code, or version of its library."""
    perturb: Callable[[AttackedModel], Tensor]
    """Function from a model with its samples to perturbed images (N, C, H, W)."""


def contenders(ball: Ball) -> list[Contender]:
    """All attacks of a ball; the first one is the native AutoAttack."""
    return [*_native(ball), *_original(ball), *_torchattacks(ball), *_foolbox(ball), *_art(ball)]


def _native(ball: Ball) -> Iterator[Contender]:
    for signature in (*ENSEMBLES, *SINGLE):
        name, semicolon, numbers = signature.format(norm=ball.norm).partition(";")
        yield _stressor(f"{name};eps={ball.eps}{semicolon}{numbers}", signature.format(norm=ball.norm), ball)


def _stressor(signature: str, name: str, ball: Ball) -> Contender:
    stressor = parse_stressor(signature)

    def perturb(attacked: AttackedModel) -> Tensor:
        found = stressor.apply(attacked.sample_batch(0), attacked.access).inputs
        return found if ";eps=" in signature else ball.clipped(attacked.images, found)

    return Contender(name=name, version=stressor.code(), perturb=perturb)


def _original(ball: Ball) -> Iterator[Contender]:
    """Standard AutoAttack of the authors' package, which is on no index; nothing if it is not installed.

    torchattacks 3.3 installs a package of that name that cannot be used. It has no module ``checks``.
    """
    try:
        importlib.import_module("autoattack.checks")
    except ImportError:
        return
    kind = importlib.import_module("autoattack").AutoAttack

    def perturb(attacked: AttackedModel) -> Tensor:
        norm = ball.norm.capitalize()
        attack = kind(attacked.model, norm=norm, eps=float(ball.eps), seed=0, device="cpu", verbose=False)
        found: Tensor = attack.run_standard_evaluation(attacked.images, attacked.labels, bs=attacked.batch)
        return found

    yield Contender(name="original AutoAttack", version="standard", perturb=perturb)


def _torchattacks(ball: Ball) -> Iterator[Contender]:
    for template in (*TORCHATTACKS[ball.norm], *TORCHATTACKS_BOTH):
        numbers = {"norm": ball.norm.capitalize(), "eps": ball.eps, "step": ball.eps / 8}
        given = [part for part in template.split(";") if "{" not in part]
        yield _stressor(f"torchattacks:{template.format(**numbers)}", f"torchattacks {';'.join(given)}", ball)


def _foolbox(ball: Ball) -> Iterator[Contender]:
    """Attacks of foolbox, https://foolbox.readthedocs.io."""
    from foolbox import PyTorchModel, attacks

    pgd = {"steps": 40, "rel_stepsize": 1 / 8}
    kinds: dict[str, Any] = {
        "linf": {
            "PGD;steps=40": attacks.LinfPGD(**pgd),
            "BasicIterative;steps=40": attacks.LinfBasicIterativeAttack(**pgd),
            "AdamPGD;steps=40": attacks.LinfAdamProjectedGradientDescentAttack(**pgd),
            "FMN;steps=100": attacks.LInfFMNAttack(steps=100),
            "DeepFool;steps=50": attacks.LinfDeepFoolAttack(),
        },
        "l2": {
            "PGD;steps=40": attacks.L2PGD(**pgd),
            "BasicIterative;steps=40": attacks.L2BasicIterativeAttack(**pgd),
            "AdamPGD;steps=40": attacks.L2AdamProjectedGradientDescentAttack(**pgd),
            "DDN;steps=100": attacks.DDNAttack(steps=100),
            "FMN;steps=100": attacks.L2FMNAttack(steps=100),
            "CarliniWagner;steps=5x100": attacks.L2CarliniWagnerAttack(
                binary_search_steps=5, steps=100, stepsize=0.05, initial_const=1.0
            ),
            "DeepFool;steps=50": attacks.L2DeepFoolAttack(),
        },
    }

    def perturb(attacked: AttackedModel, attack: Any) -> Tensor:
        torch.manual_seed(0)
        model = PyTorchModel(attacked.model, bounds=(0, 1), device="cpu")
        found: Tensor = attack(model, attacked.images, attacked.labels, epsilons=float(ball.eps))[1]
        return found

    for name, attack in kinds[ball.norm].items():
        yield Contender(name=f"foolbox {name}", version=version("foolbox"), perturb=partial(perturb, attack=attack))


def _art(ball: Ball) -> Iterator[Contender]:
    """Attacks of the Adversarial Robustness Toolbox, https://adversarial-robustness-toolbox.readthedocs.io."""
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    eps = float(ball.eps)
    common = {"norm": {"linf": np.inf, "l2": 2}[ball.norm], "eps": eps, "batch_size": 256, "verbose": False}
    auto = {**common, "eps_step": 2 * eps, "max_iter": 100, "nb_random_init": 1}
    kinds: dict[str, Callable[[Any], Any]] = {
        "PGD;steps=40": lambda model: evasion.ProjectedGradientDescentPyTorch(
            model, **common, eps_step=eps / 8, max_iter=40, num_random_init=1
        ),
        "APGD;steps=100": lambda model: evasion.AutoProjectedGradientDescent(model, **auto, loss_type="cross_entropy"),
        "APGD;steps=100;loss=dlr": lambda model: evasion.AutoProjectedGradientDescent(
            model, **auto, loss_type="difference_logits_ratio"
        ),
        "ACG;steps=100": lambda model: evasion.AutoConjugateGradient(model, **auto, loss_type="cross_entropy"),
    }
    if ball.norm == "l2":
        kinds["CarliniWagner;steps=10x10"] = lambda model: evasion.CarliniL2Method(model, batch_size=256, verbose=False)

    def perturb(attacked: AttackedModel, make: Callable[[Any], Any]) -> Tensor:
        torch.manual_seed(0)
        np.random.seed(0)
        shape, classes = tuple(attacked.images.shape[1:]), int(attacked.model(attacked.images[:1]).shape[1])
        loss: Any = torch.nn.CrossEntropyLoss()
        model = PyTorchClassifier(attacked.model, loss, shape, classes, clip_values=(0.0, 1.0), device_type="cpu")
        found = torch.from_numpy(make(model).generate(attacked.images.numpy(), attacked.labels.numpy()))
        return ball.clipped(attacked.images, found)

    for name, make in kinds.items():
        number = version("adversarial-robustness-toolbox")
        yield Contender(name=f"ART {name}", version=number, perturb=partial(perturb, make=make))
