"""What a word attack must keep of the meaning of a text, in words: for tables, and for readers without torch."""

from typing import Final

UNCONSTRAINED: Final = "unconstrained"
CONSTRAINED: Final = "constrained"
"""Ending, after a colon, of the names of constrained attacks in tables."""
WORD_ATTACKS: Final = ("hotflip", "random-flip", "word-substitution", "random-swap", "character-edits")
"""Attacks whose result is a text."""


def is_judged(signature: str) -> bool:
    """Whether a word attack has a model that judges its texts, so that records keep what it says."""
    name, *parts = signature.split(";")
    return name in WORD_ATTACKS and any(part.startswith(("encoder=", "perplexity=")) for part in parts)


def constraint_of(signature: str) -> str:
    """Constraint on the meaning of the perturbed text, like ``cosine >= 9/10 by hf:NAME``; ``unconstrained`` for a word
    attack without one, and empty for all other stressors.

    Args:
        signature: printed form of the stressor, or its name in tables, which does not say what the constraint is.
    """
    name, *parts = signature.split(";")
    name, _, ending = name.partition(":")
    if name not in WORD_ATTACKS:
        return ""
    given = {key: value for key, _, value in (part.partition("=") for part in parts)}
    bounds = []
    if "cosine" in given:
        bounds.append(f"cosine >= {given['cosine']} by {given['encoder']}")
    if "synonyms" in given:
        kept = " of one part of speech" if "speech" in given else ""
        bounds.append(f"synonyms{kept} by {given['synonyms']}")
    return ", ".join(bounds) or (CONSTRAINED if ending == CONSTRAINED else UNCONSTRAINED)
