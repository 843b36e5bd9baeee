"""Stressors of ``evaluate``: read from signatures, or the default ones."""

from collections.abc import Iterable, Sequence

from torch import nn

from robustbench_wb.api.evaluation_samples import FunctionTokenizer
from robustbench_wb.errors import SubjectError, UsageError
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.stressors.catalogue import STRESSORS, parse_stressor, strength_axis
from robustbench_wb.stressors.clean import Clean
from robustbench_wb.stressors.given_signature import read_signature, within_images
from robustbench_wb.stressors.stressor import Modality, Stressor
from robustbench_wb.suites.suite import SUITES, find_suite

Stressors = Sequence[Stressor | str] | Stressor | str

IMAGE_STRENGTH = "8/255"
"""Strength of the default attacks on images."""
TEXT_STRESSORS = ("embedding-pgd-linf", "hotflip", "word-substitution", "character-edits", "random-swap")
"""Default attacks on texts, each at the lowest strength of the suite ``adversarial-text``."""
TEXT_CORRUPTIONS = ("keyboard-typos;severity=3", "word-drop;severity=3")
"""Default stressors of a tokenizer that does not tell which characters a token stands for, as attacks on words need."""


def default_stressors(model: nn.Module, tokenizer: Tokenizer | None, *, image: bool) -> list[Stressor]:
    """Stressors of ``evaluate`` when none are given; ``clean`` is the first.

    Attacks on word vectors are left out for models that name no table of them. A tokenizer that is a plain function
    gets corruptions instead of attacks.
    """
    if isinstance(tokenizer, FunctionTokenizer):
        return [Clean(), *(parse_stressor(signature) for signature in TEXT_CORRUPTIONS)]
    suite = find_suite("adversarial" if image else "adversarial-text")
    found: list[Stressor] = [Clean()]
    for line in suite.stressors:
        strengths = suite.strengths_for(line, "") or ()
        name = line.use.partition(";")[0]
        if image and IMAGE_STRENGTH in strengths:
            found.append(_at(line.use, IMAGE_STRENGTH))
        elif name in TEXT_STRESSORS and not image and (_has_word_table(model) or name not in TEXT_STRESSORS[:2]):
            found.append(_at(line.use, strengths[0]))
    return found


def _read(given: Stressor | str, shape: Shape | None) -> Stressor:
    try:
        if isinstance(given, str) and given in SUITES and given not in STRESSORS:
            example = "fog;severity=3" if isinstance(shape, ImageShape) else "word-drop;severity=3"
            raise UsageError(f"{given!r} is a suite, which `run` takes; `evaluate` takes stressors, like {example!r}")
        stressor = read_signature(given) if isinstance(given, str) else given
        return within_images(stressor, shape) if isinstance(shape, ImageShape) else stressor
    except UsageError as error:
        raise UsageError(f"stressors: {error}", "stressors") from error


def _at(signature: str, strength: str) -> Stressor:
    return parse_stressor(f"{signature};{strength_axis(signature.partition(';')[0])}={strength}")


def _has_word_table(model: nn.Module) -> bool:
    try:
        WordEmbeddings(model)
    except SubjectError:
        return False
    return True


def parse_stressors(stressors: Stressors, shape: Shape | None) -> list[Stressor]:
    """The stressors as values, each once, behind ``clean``.

    Raises:
        UsageError: a signature cannot be read, or a stressor cannot perturb such inputs or needs training.
    """
    image = isinstance(shape, ImageShape)
    given: object = [stressors] if isinstance(stressors, str | Stressor) else stressors
    if not isinstance(given, Iterable):
        raise UsageError(f"stressors: {given!r} is no list of stressors and signatures", "stressors")
    found: dict[str, Stressor] = {"clean": Clean()}
    for one in given:
        if not isinstance(one, str | Stressor):
            kind = type(one).__name__
            raise UsageError(f"stressors: a {kind} is neither a stressor nor a signature", "stressors")
        stressor = _read(one, shape)
        perturbs: tuple[Modality, ...] = ("image", "any") if image else ("text", "labelled", "tokens", "any")
        if stressor.modality not in perturbs:
            raise UsageError(
                f"stressors: {stressor.name} does not perturb {'images' if image else 'texts with labels'}", "stressors"
            )
        if stressor.retrains:
            raise UsageError(f"stressors: {stressor.name} contaminates training data; use run", "stressors")
        if stressor.surrogate is not None:
            raise UsageError(f"stressors: {stressor.name} needs a second model; use run", "stressors")
        found[stressor.signature] = stressor
    return list(found.values())
