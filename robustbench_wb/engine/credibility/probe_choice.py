"""Which probe the subject of a list of ladders needs."""

from collections.abc import Sequence
from fractions import Fraction

from robustbench_wb.engine.credibility.image_probe import ImageProbe
from robustbench_wb.engine.credibility.probe import Probe
from robustbench_wb.engine.credibility.word_probe import WordProbe
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.norms import LINF
from robustbench_wb.stressors.attacks.attack import BallBoundedStressor
from robustbench_wb.stressors.text_attacks.embedding import EmbeddingAttack

PIXELS, WORDS = Fraction(8, 255), Fraction(1, 4)
"""Linf radii of the probes of images and of words, where no ladder is in that norm."""


def choose_probe(ladders: Sequence[Ladder]) -> Probe | None:
    """The probe, at the middle radius of the first ladder in Linf; None without graded attacks."""
    middle = [ladder.rungs[len(ladder.rungs) // 2] for ladder in ladders]
    balls = [rung for rung in middle if isinstance(rung, BallBoundedStressor)]
    if balls:
        return ImageProbe(eps=next((rung.eps for rung in balls if rung.norm is LINF), PIXELS))
    if not any(rung.kind is not None for rung in middle):
        return None
    words = [rung.eps for rung in middle if isinstance(rung, EmbeddingAttack) and rung.norm is LINF]
    return WordProbe(eps=next(iter(words), WORDS))
