"""External models by reference: ``path.py:factory``, ``timm:NAME``, ``hf:NAME``, or the name of a plug-in.

A provider is a function ``provide(name, options, trained) -> Factory`` in its own file, with one line below. Another
package adds a provider through the entry-point group ``robustbench_wb.providers``. A package with a single model needs
no provider: the group ``robustbench_wb.subjects`` names a function from a shape to a model.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from robustbench_wb.errors import SubjectError, UsageError
from robustbench_wb.models.providers.factory import Factory as Factory
from robustbench_wb.models.providers.file import locate
from robustbench_wb.models.providers.file import provide as from_file
from robustbench_wb.models.providers.hub import check_on_hub
from robustbench_wb.registry import Registry

Provider = Callable[[str, Mapping[str, str], bool], Factory]

_HERE = "robustbench_wb.models.providers"

PROVIDERS: Registry[Provider] = Registry("provider")
PROVIDERS.add("timm", f"{_HERE}.timm:provide", "an image model from timm, by name or from a folder")
PROVIDERS.add("hf", f"{_HERE}.hf:provide", "an image or text classifier from transformers, by name or from a folder")

SUBJECTS: Registry[Callable[..., object]] = Registry("subject")
"""Models of other packages, which only plug-ins register."""


_PATHS = ("/", "./", "../", "~")
"""Beginnings of names that mean a folder and nothing else."""


def is_external(reference: str) -> bool:
    """Whether ``reference`` names an external model rather than a variant."""
    prefix, found, _ = reference.partition(":")
    return ".py:" in reference or bool(found and prefix in PROVIDERS) or reference in SUBJECTS


def without_pretrained(reference: str) -> str:
    """Reference of the same model built with random weights; any other reference than a library's stays as it is."""
    prefix, found, rest = reference.partition(":")
    if not found or prefix not in PROVIDERS or ".py:" in reference:
        return reference
    parts = [part for part in rest.split(";") if not part.startswith("pretrained=")]
    return ";".join([f"{prefix}:{parts[0]}", *parts[1:], "pretrained=false"])


def load_factory(reference: str, trained: bool = True) -> Factory:
    """Return the factory of an external model; this loads its code and configuration, not its weights.

    ``trained`` says whether a training recipe follows; only then may the model get a new head for the task's classes.

    Raises:
        UsageError: the file, function, library or model does not exist, or an option is wrong.
    """
    prefix, found, rest = reference.partition(":")
    if found and prefix in PROVIDERS:
        name, *options = rest.split(";")
        if not name:
            raise UsageError(f"{reference!r} names no model; write it like '{prefix}:NAME'")
        if name.startswith(_PATHS) and not Path(name).expanduser().is_dir():
            raise UsageError(f"{reference}: folder {name} does not exist")
        check_on_hub(prefix, name)
        return PROVIDERS.get(prefix)(name, _options(reference, options), trained)
    if reference in SUBJECTS:
        from robustbench_wb.models.providers.plugin import provide as from_plugin

        return from_plugin(SUBJECTS, reference)
    return from_file(reference)


def unloaded_factory(reference: str) -> Factory:
    """A factory of an external model whose code another process runs; it cannot build the model.

    Raises:
        UsageError: the file does not exist, or the reference is malformed.
    """
    prefix, found, _ = reference.partition(":")
    if reference not in SUBJECTS and not (found and prefix in PROVIDERS):
        locate(reference)

    def make(shape: object) -> object:
        raise SubjectError(f"{reference} is built in a process of its own only; isolate is an option of run")

    return Factory(reference=reference, code_digest="", make=make)


def _options(reference: str, texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for key, found, value in pairs:
        if not (key and found and value):
            raise UsageError(f"{reference!r}: options are written like ';pretrained=false'")
    return {key: value for key, _, value in pairs}
