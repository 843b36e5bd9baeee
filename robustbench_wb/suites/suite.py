"""Suites: named, versioned lists of stressors and strengths with settings for each scale."""

from pathlib import Path
from typing import Final

from pydantic import Field, StrictBool, ValidationError

from robustbench_wb.errors import UsageError
from robustbench_wb.invalid_fields import first_invalid_field
from robustbench_wb.registry import Registry
from robustbench_wb.spec import Spec
from robustbench_wb.text_files import is_file, parse_toml, read_text, reason_of


class SuiteStressor(Spec):
    """One stressor of a suite."""

    use: str
    """Signature of the stressor without its strength, such as ``pgd-linf;steps=20``."""
    strengths: str | None = None
    """Name of a list in ``[strengths]``; None for a stressor without strength."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks to which the stressor applies, with ``*`` as wildcard; empty: all tasks."""
    family: str = ""
    """Family for multiple-testing correction among the evaluations of one model; empty is the default family.

    It is declared in the suite, before any result is known."""


class IncludedSuite(Spec):
    """Another suite whose stressors a suite takes over."""

    suite: str
    """Name of a registered suite, or a suite file (``.toml``)."""
    version: int = Field(ge=1, lt=1 << 31)
    """Version of the other suite. When that one changes, the including suite must be given a new version as well."""


class ScaleSettings(Spec):
    """Settings of one scale of a suite."""

    samples: int | None = Field(default=None, ge=1, lt=1 << 31)
    """Number of evaluated samples; None: the whole test split."""
    size: str
    """Size of the variants, unless the request gives one."""
    tasks: tuple[str, ...] = ()
    """Default tasks at this scale; empty: the default tasks of the suite."""
    variants: tuple[str, ...] = ()
    """Default variants at this scale; empty: the default variants of the suite."""


class Suite(Spec):
    """Content of a suite file."""

    name: str
    version: int = Field(ge=1, lt=1 << 31)
    """Version of the suite. Raise it when a result can change: rows of different versions are never compared."""
    summary: str
    """Description in one sentence."""
    tasks: tuple[str, ...] = ("digits",)
    """Default tasks, for requests without tasks."""
    variants: tuple[str, ...] = ("vit", "crate", "bilateral", "boosting", "bilateral-boosting")
    """Default variants, for requests without variants."""
    headline: str = ""
    """Threat model (``linf``, ``words``) or axis (``severity``, ``rate``, ``length``) by which models are ranked.

    It is read from registered suites only. Empty: see ``robustbench_wb.analysis.headline.headline_columns``."""
    calibration: StrictBool = False
    """Whether rows of classification have calibration error and Brier score, see
    ``robustbench_wb.records.score_row.ScoreRow``. Their records are kept apart from those of other suites. A suite that
    includes one with calibration has it as well."""
    layers: StrictBool = False
    """Whether the layers of each variant are measured in every cell, as ``run --layers`` does. A suite that includes
    one with layers measures them as well."""
    include: tuple[IncludedSuite, ...] = ()
    """Suites whose stressors follow those of this file; what is there already is left out."""
    stressors: tuple[SuiteStressor, ...] = ()
    strengths: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    """Exact strengths by name of the list, and by task or ``default``."""
    scales: dict[str, ScaleSettings]

    def strengths_for(self, stressor: SuiteStressor, task: str) -> tuple[str, ...] | None:
        """Strengths of a stressor for a task; None for a stressor without strength.

        Raises:
            UsageError: the suite has no such list for the task.
        """
        if stressor.strengths is None:
            return None
        by_task = self.strengths.get(stressor.strengths, {})
        found = by_task.get(task, by_task.get("default"))
        if not found:
            raise UsageError(f"suite {self.name!r} has no strengths {stressor.strengths!r} for task {task!r}")
        return found

    def settings(self, scale: str) -> ScaleSettings:
        """Settings of a scale.

        Raises:
            UsageError: the suite does not have the scale.
        """
        if scale not in self.scales:
            raise UsageError(f"suite {self.name!r} has no scale {scale!r}; it has: {', '.join(self.scales)}")
        return self.scales[scale]

    def default_tasks(self, scale: str) -> tuple[str, ...]:
        """Tasks of a request without tasks.

        Raises:
            UsageError: the suite does not have the scale.
        """
        return self.settings(scale).tasks or self.tasks

    def default_variants(self, scale: str) -> tuple[str, ...]:
        """Variants of a request without variants.

        Raises:
            UsageError: the suite does not have the scale.
        """
        return self.settings(scale).variants or self.variants


ROW_PARTS: Final = ("calibration", "layers")
"""Fields of a suite that say what its rows have beside the outcomes; an including suite has them as well."""


def read_suite(text: str, where: str) -> Suite:
    """Parse the text of a suite file; ``where`` names the file in error messages.

    Raises:
        UsageError: the text is not TOML, a field is missing, unknown or out of range, there is no stressor, or an
            included suite has another version.
        UnknownNameError: there is no such suite to include.
    """
    try:
        suite = Suite.model_validate(parse_toml(text))
    except ValidationError as error:
        raise UsageError(f"suite file {where}: {first_invalid_field(error, Suite)}") from error
    except ValueError as error:
        raise UsageError(f"suite file {where} is not TOML: {reason_of(error)}") from error
    for included in suite.include:
        suite = _with_included(suite, included, where)
    if not suite.stressors:
        raise UsageError(f"suite file {where} has no stressors; add [[stressors]] or [[include]]")
    return suite


def _with_included(suite: Suite, included: IncludedSuite, where: str) -> Suite:
    """A suite with the stressors of another one, whose lists of strengths get the name of that suite before theirs."""
    other = find_suite(included.suite)
    if other.version != included.version:
        raise UsageError(
            f"suite file {where} includes version {included.version} of {other.name!r}, which has version "
            f"{other.version}; name that one, and raise the version of the suite"
        )
    added: dict[str, object] = {name: True for name in ROW_PARTS if getattr(other, name)}
    for part in added:
        if part in suite.model_fields_set and not getattr(suite, part):
            raise UsageError(
                f"suite file {where} has {part} = false and includes {other.name!r}, whose rows have {part}; "
                "leave that line out, or include the suites that it includes"
            )
    strengths = {f"{other.name}.{name}": values for name, values in other.strengths.items()}
    lines = []
    for line in other.stressors:
        name = None if line.strengths is None else f"{other.name}.{line.strengths}"
        moved = line.model_copy(update={"strengths": name})
        if moved not in suite.stressors:
            lines.append(moved)
    added |= {"stressors": (*suite.stressors, *lines), "strengths": suite.strengths | strengths}
    return suite.model_copy(update=added)


SUITES: Registry[Suite] = Registry("suite")
_BUILT_IN = "robustbench_wb.suites.builtin"
SUITES.add("clean", f"{_BUILT_IN}:CLEAN", "accuracy on unperturbed inputs")
SUITES.add("corruption", f"{_BUILT_IN}:CORRUPTION", "the 15 corruptions of ImageNet-C and CIFAR-C at 5 severities")
SUITES.add(
    "corruption-validation",
    f"{_BUILT_IN}:CORRUPTION_VALIDATION",
    "the 4 corruptions of ImageNet-C for tuning",
)
SUITES.add("corruption-c-bar", f"{_BUILT_IN}:CORRUPTION_C_BAR", "the 10 corruptions of ImageNet-C-bar at 5 severities")
SUITES.add("corruption-laion-c", f"{_BUILT_IN}:CORRUPTION_LAION_C", "the 6 distortions of LAION-C at 5 severities")
SUITES.add(
    "perturbation-stability",
    f"{_BUILT_IN}:PERTURBATION_STABILITY",
    "the worst of slightly changing frames (ImageNet-P)",
)
SUITES.add("calibration", f"{_BUILT_IN}:CALIBRATION", "corruption, with calibration error and Brier score")
SUITES.add("ood-detection", f"{_BUILT_IN}:OOD_DETECTION", "clean, then detection of images without any class")
SUITES.add("adversarial", f"{_BUILT_IN}:ADVERSARIAL", "clean, noise, FGSM and PGD over radii, and an ensemble")
SUITES.add(
    "adversarial-as-published", f"{_BUILT_IN}:ADVERSARIAL_AS_PUBLISHED", "FGSM and PGD as run by a group of papers"
)
SUITES.add("adversarial-local", f"{_BUILT_IN}:ADVERSARIAL_LOCAL", "few pixels, or one square, by any amount")
SUITES.add("adversarial-universal", f"{_BUILT_IN}:ADVERSARIAL_UNIVERSAL", "one perturbation for all images, in Linf")
SUITES.add(
    "adversarial-segmentation",
    f"{_BUILT_IN}:ADVERSARIAL_SEGMENTATION",
    "clean mIoU, then attacks on all pixels in Linf",
)
SUITES.add(
    "adversarial-text", f"{_BUILT_IN}:ADVERSARIAL_TEXT", "clean, then attacks on word vectors, words and characters"
)
SUITES.add(
    "corruption-text", f"{_BUILT_IN}:CORRUPTION_TEXT", "clean, then typing, OCR and editing errors at 5 severities"
)
SUITES.add("contamination-text", f"{_BUILT_IN}:CONTAMINATION_TEXT", "clean, then replaced words and hidden tokens")
SUITES.add(
    "contamination-segmentation",
    f"{_BUILT_IN}:CONTAMINATION_SEGMENTATION",
    "clean mIoU, then training on noise images, and contaminated test images",
)
SUITES.add("prefix-language", f"{_BUILT_IN}:PREFIX_LANGUAGE", "perplexity after a prefix of foreign tokens")
SUITES.add("contamination-language", f"{_BUILT_IN}:CONTAMINATION_LANGUAGE", "perplexity, clean and with replaced words")
SUITES.add("long-sequence", f"{_BUILT_IN}:LONG_SEQUENCE", "long inputs: other lengths, wrong and hidden tokens")
SUITES.add("needle", f"{_BUILT_IN}:NEEDLE", "one fact at five depths of sequences of up to 16,384 tokens")
SUITES.add("contamination", f"{_BUILT_IN}:CONTAMINATION", "clean, then training on wrong labels, noise or a trigger")
SUITES.add("cifar-robustness", f"{_BUILT_IN}:CIFAR_ROBUSTNESS", "adversarial and corruption, on CIFAR-10")
SUITES.add(
    "imagenet-robustness", f"{_BUILT_IN}:IMAGENET_ROBUSTNESS", "adversarial and corruption, on a folder of pictures"
)
SUITES.add("text-robustness", f"{_BUILT_IN}:TEXT_ROBUSTNESS", "attacks, errors and contamination of texts with labels")
SUITES.add("language-robustness", f"{_BUILT_IN}:LANGUAGE_ROBUSTNESS", "perplexity under replaced words")


def find_suite(name: str) -> Suite:
    """Return a registered suite, or read a suite file if ``name`` ends in ``.toml``.

    Raises:
        UnknownNameError: the suite is not registered; the message suggests similar names.
        UsageError: the file does not exist, cannot be read, or is not a suite.
    """
    if not name.endswith(".toml"):
        return SUITES.get(name)
    path = Path(name)
    if not is_file(path):
        raise UsageError(f"suite file {name} does not exist")
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"suite file {name} cannot be read as text: {reason_of(error)}") from error
    return read_suite(text, name)
