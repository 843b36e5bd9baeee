"""Choice of the probe for the models of a task."""

from collections.abc import Sequence
from fractions import Fraction

from robustbench_wb.engine.credibility.image_probe import ImageProbe
from robustbench_wb.engine.credibility.probe import Probe
from robustbench_wb.engine.credibility.segmentation_probe import SegmentationProbe
from robustbench_wb.engine.credibility.word_probe import WordProbe
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.norms import LINF
from robustbench_wb.stressors.attacks.attack import BallBoundedStressor
from robustbench_wb.stressors.attacks.pixel_attack import PixelAttack
from robustbench_wb.stressors.text_attacks.embedding import EmbeddingAttack

IMAGE_RADIUS = Fraction(8, 255)
"""Linf radius of the image probe, in units of the pixel range, if no ladder is in Linf."""
WORD_RADIUS = Fraction(1, 4)
"""Linf radius of the word probe, in standard deviations of the embedding table, if no ladder is in Linf."""


def choose_probe(ladders: Sequence[Ladder]) -> Probe | None:
    """Choose the probe, at the middle radius of the first ladder in Linf; None without graded attacks."""
    middle = [ladder.rungs[len(ladder.rungs) // 2] for ladder in ladders]
    pixels = [rung for rung in middle if isinstance(rung, PixelAttack)]
    if pixels:
        return SegmentationProbe(eps=pixels[0].eps)
    balls = [rung for rung in middle if isinstance(rung, BallBoundedStressor)]
    if balls:
        return ImageProbe(eps=next((rung.eps for rung in balls if rung.norm is LINF), IMAGE_RADIUS))
    if not any(rung.kind is not None for rung in middle):
        return None
    words = [rung.eps for rung in middle if isinstance(rung, EmbeddingAttack) and rung.norm is LINF]
    return WordProbe(eps=next(iter(words), WORD_RADIUS))
