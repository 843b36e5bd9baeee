"""Threat model and kind of each attack by its name, for readers of stored results that must not import torch."""

from typing import TYPE_CHECKING, Final, NamedTuple

from robustbench_wb.errors import HarnessError
from robustbench_wb.stressors.catalogue import PROVIDER, parse_stressor
from robustbench_wb.stressors.names import STRESSORS
from robustbench_wb.stressors.text_constraint import UNCONSTRAINED, constraint_of

if TYPE_CHECKING:  # stressors import torch; naming them must not
    from robustbench_wb.stressors.stressor import AttackKind

AXES: Final = ("eps", "severity", "rate", "budget", "length")
"""Names of the parameters that can be the strength of a stressor."""


KINDS: Final = ("control", "single-step", "black-box", "white-box", "ensemble")
"""Kinds of attacks, weakest first."""


class ThreatModel(NamedTuple):
    """What an attack may change, and how the attack searches."""

    name: str
    """Set of allowed perturbations without its radius: ``linf``, ``l0``, ``patch``, ``words``; a constraint on the
    meaning of texts follows after a comma."""
    kind: "AttackKind"
    """Kind of the attack, by which attacks are ordered by strength."""


_SEARCHES: Final[dict[str, "AttackKind"]] = {
    "noise": "control",
    "fgsm": "single-step",
    "pgd": "white-box",
    "bpda": "white-box",
    "apgd": "white-box",
    "apgd-t": "white-box",
    "fab": "white-box",
    "fmn": "white-box",
    "hopskipjump": "black-box",
    "square": "black-box",
    "sparse-rs": "black-box",
    "spsa": "black-box",
    "transfer": "black-box",
    "quick": "ensemble",
    "strong": "ensemble",
    "autoattack": "ensemble",
    "pixel-pgd": "white-box",
    "segpgd": "white-box",
    "pixel-ensemble": "ensemble",
    "embedding-fgsm": "single-step",
    "embedding-pgd": "white-box",
    "published-fgsm": "single-step",
    "published-pgd": "white-box",
}
"""Kind of each attack in a ball, by its name without the norm."""
_NORMS: Final = ("linf", "l2", "l1", "l0")
_OTHERS: Final[dict[str, ThreatModel]] = {
    "patch": ThreatModel("patch", "white-box"),
    "universal-linf": ThreatModel("universal linf", "white-box"),
    "universal-noise-linf": ThreatModel("random universal linf", "control"),
    "published-spsa": ThreatModel("linf", "black-box"),
    "hotflip": ThreatModel("one-token words", "white-box"),
    "random-flip": ThreatModel("one-token words", "control"),
    "word-substitution": ThreatModel("words", "black-box"),
    "random-swap": ThreatModel("words", "control"),
    "character-edits": ThreatModel("letters", "black-box"),
}


def threat_model(signature: str) -> ThreatModel | None:
    """Threat model of an attack; None for a stressor that is no attack.

    The attacks of this package are known by name. A plug-in is asked, which may import torch. An attack of another
    library has a threat model of its own, because its ball is not known.

    Args:
        signature: printed form of the stressor, or its name.
    """
    name = signature.split(";")[0].split(":")[0]
    search, _, norm = name.rpartition("-")
    if name in _OTHERS:
        found, constraint = _OTHERS[name], constraint_of(signature)
        return found._replace(name=f"{found.name}, {constraint}") if constraint not in ("", UNCONSTRAINED) else found
    if search in _SEARCHES and norm in _NORMS:
        prefix = "embedding-" if search.startswith("embedding-") else ""
        return ThreatModel(f"{prefix}{norm}", _SEARCHES[search])
    if signature.startswith(PROVIDER):
        return ThreatModel(signature.split(";")[0], "white-box")
    entry = next((entry for entry in STRESSORS if entry.name == name), None)
    return _ask(signature) if entry is not None and entry.origin != "built in" else None


def _ask(signature: str) -> ThreatModel | None:
    try:
        found = parse_stressor(signature)
    except HarnessError:
        return None  # the plug-in is not installed here in the version that was run
    return None if found.kind is None else ThreatModel(found.threat[0], found.kind)


def strength_name(signature: str, strength: str) -> str:
    """Name of the parameter that holds the strength, one of ``AXES``; empty without a strength.

    Args:
        signature: printed form of a stressor with all parameters.
        strength: its strength, exact text.
    """
    parts = signature.split(";")[1:]
    return next((name for name in AXES if strength and f"{name}={strength}" in parts), "")
