"""What a suite is: a named, versioned, declarative list of stressors and strengths, with settings per scale."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import Registry
from robustbench_wb.spec import Spec


class SuiteStressor(Spec):
    """One line of a suite."""

    use: str
    """A stressor's signature without its strength, like ``pgd-linf;steps=20``."""
    strengths: str | None = None
    """Name of the strength list in ``[strengths]``; None for a stressor without strength."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks that it is for, with ``*`` for any letters; empty: all."""
    family: str = ""
    """Cells of one subject whose lines name the same family are corrected together when two versions are compared,
    lines that name none with each other. Declared here, before there is a result to look at."""


class ScaleSettings(Spec):
    """How much of a suite is run."""

    samples: int | None = Field(default=None, ge=1)
    """Evaluated samples; None: the whole test split."""
    size: str
    """Size of the variants, unless the request names one."""
    tasks: tuple[str, ...] = ()
    """What a request that names no task is about; empty: the suite's."""
    variants: tuple[str, ...] = ()
    """What a request that names no variant covers; empty: the suite's."""


class Suite(Spec):
    """A suite file, read."""

    name: str
    version: int = Field(ge=1)
    """Raise it when a number can change: rows of different versions are never compared."""
    summary: str
    tasks: tuple[str, ...] = ("digits",)
    """What a request that names no task is about."""
    variants: tuple[str, ...] = ("vit", "crate", "bilateral", "boosting", "bilateral-boosting")
    """What a request that names no variant covers."""
    stressors: tuple[SuiteStressor, ...]
    strengths: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    """List name -> task name (or ``default``) -> exact strengths."""
    scales: dict[str, ScaleSettings]

    def strengths_for(self, stressor: SuiteStressor, task: str) -> tuple[str, ...] | None:
        """The strength list of a line for a task; None for a stressor without strength.

        Raises:
            UsageError: the suite has no such list.
        """
        if stressor.strengths is None:
            return None
        by_task = self.strengths.get(stressor.strengths, {})
        found = by_task.get(task, by_task.get("default"))
        if not found:
            raise UsageError(f"suite {self.name!r} has no strengths {stressor.strengths!r} for task {task!r}")
        return found

    def settings(self, scale: str) -> ScaleSettings:
        """The settings of a scale.

        Raises:
            UsageError: the suite has no such scale.
        """
        if scale not in self.scales:
            raise UsageError(f"suite {self.name!r} has no scale {scale!r}; it has: {', '.join(self.scales)}")
        return self.scales[scale]


def read_suite(text: str, where: str) -> Suite:
    """Parse a suite file.

    Raises:
        UsageError: it is not TOML, or a field is missing, unknown or out of range.
    """
    try:
        content: dict[str, Any] = tomllib.loads(text)
        return Suite.model_validate(content)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"suite file {where} is not TOML: {error}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise UsageError(f"suite file {where}: {field}: {problem['msg']}") from error


SUITES: Registry[Suite] = Registry("suite")
_BUILT_IN = "robustbench_wb.suites.builtin"
SUITES.add("clean", f"{_BUILT_IN}:CLEAN", "accuracy on the images as they are")
SUITES.add("corruption", f"{_BUILT_IN}:CORRUPTION", "the 15 corruptions of ImageNet-C and CIFAR-C at 5 severities")
SUITES.add("corruption-validation", f"{_BUILT_IN}:CORRUPTION_VALIDATION", "the 4 that ImageNet-C keeps for tuning")
SUITES.add("adversarial", f"{_BUILT_IN}:ADVERSARIAL", "clean, noise, FGSM and PGD over epsilon lists, and an ensemble")
SUITES.add(
    "adversarial-as-published", f"{_BUILT_IN}:ADVERSARIAL_AS_PUBLISHED", "FGSM and PGD as a group of papers ran them"
)
SUITES.add("adversarial-text", f"{_BUILT_IN}:ADVERSARIAL_TEXT", "clean, then word vectors, words and letters attacked")
SUITES.add(
    "corruption-text", f"{_BUILT_IN}:CORRUPTION_TEXT", "clean, then slips of typing and reading in five severities"
)
SUITES.add("contamination-text", f"{_BUILT_IN}:CONTAMINATION_TEXT", "clean, then words swapped and tokens hidden")
SUITES.add("contamination-language", f"{_BUILT_IN}:CONTAMINATION_LANGUAGE", "perplexity of clean and of swapped words")
SUITES.add("long-sequence", f"{_BUILT_IN}:LONG_SEQUENCE", "long inputs: other lengths, wrong and hidden tokens")
SUITES.add("contamination", f"{_BUILT_IN}:CONTAMINATION", "clean, then trained on wrong labels, noise and a trigger")


def find_suite(name: str) -> Suite:
    """A registered suite, or one read from a TOML file when ``name`` ends in ``.toml``.

    Raises:
        UnknownNameError: no such suite.
        UsageError: the file does not exist, cannot be read, or is not a suite.
    """
    if not name.endswith(".toml"):
        return SUITES.get(name)
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"suite file {name} does not exist")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"suite file {name} cannot be read as text: {error}") from error
    return read_suite(text, name)
