"""Models from outside the zoo, by reference: ``path.py:factory``, ``timm:NAME``, ``hf:NAME``, or a plug-in's name.

A provider is a function ``provide(name, options, trained) -> Factory`` in a file of its own, and one line below;
another package brings one through the entry-point group ``robustbench_wb.providers``. A package with one model needs
no provider: the group ``robustbench_wb.subjects`` names a function from a shape to a model.
"""

from collections.abc import Callable, Mapping

from robustbench_wb.errors import UsageError
from robustbench_wb.models.providers.factory import Factory as Factory
from robustbench_wb.models.providers.file import provide as from_file
from robustbench_wb.registry import Registry

Provider = Callable[[str, Mapping[str, str], bool], Factory]

_HERE = "robustbench_wb.models.providers"

PROVIDERS: Registry[Provider] = Registry("provider")
PROVIDERS.add("timm", f"{_HERE}.timm:provide", "an image model of timm, by name or from a folder")
PROVIDERS.add("hf", f"{_HERE}.hf:provide", "an image or text classifier of transformers, by name or from a folder")

SUBJECTS: Registry[Callable[..., object]] = Registry("subject")
"""Brought by plug-ins only."""


def is_external(reference: str) -> bool:
    """Whether a variant's name stands for a model from outside."""
    prefix, found, _ = reference.partition(":")
    return ".py:" in reference or bool(found and prefix in PROVIDERS) or reference in SUBJECTS


def load_factory(reference: str, trained: bool = True) -> Factory:
    """What a reference stands for; nothing but its code and configuration has been loaded then.

    ``trained`` says whether a recipe will train the model: only then may it get a new head for the task's classes.

    Raises:
        UsageError: there is no such file, function, library or model, or an option is wrong.
    """
    prefix, found, rest = reference.partition(":")
    if found and prefix in PROVIDERS:
        name, *options = rest.split(";")
        if not name:
            raise UsageError(f"{reference!r} names no model; write it like '{prefix}:NAME'")
        return PROVIDERS.get(prefix)(name, _options(reference, options), trained)
    if reference in SUBJECTS:
        from robustbench_wb.models.providers.plugin import provide as from_plugin

        return from_plugin(SUBJECTS, reference)
    return from_file(reference)


def _options(reference: str, texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for key, found, value in pairs:
        if not (key and found and value):
            raise UsageError(f"{reference!r}: options are written like ';pretrained=false'")
    return {key: value for key, _, value in pairs}
