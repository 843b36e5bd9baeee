"""Variants: architecture recipes as data. This module does not import torch."""

from typing import Literal

from pydantic import Field, model_validator

from robustbench_wb.errors import UnknownNameError
from robustbench_wb.registry import suggest_names
from robustbench_wb.spec import Spec

Option = bool | int | float | str
Options = dict[str, Option]


class Size(Spec):
    """Size of a backbone: width d, number of layers, heads, and head dimension (default ``width / heads``)."""

    width: int = Field(gt=0)
    depth: int = Field(gt=0)
    heads: int = Field(gt=0)
    dim_head: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, given: object) -> object:
        # Derived before freezing, so that a size with and without an explicit dim_head compare as equal.
        if not isinstance(given, dict) or given.get("dim_head") or not given.get("width") or not given.get("heads"):
            return given
        width, heads = int(given["width"]), int(given["heads"])
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads; give dim_head")
        return {**given, "dim_head": width // heads}


class Variant(Spec):
    """Architecture recipe: the mechanism in each socket of the backbone, its options, and named sizes.

    One variant serves all modalities: ``embedding`` reads images and ``text_embedding`` token ids; ``head`` predicts
    classes and ``language_head`` next tokens. ``norm`` places layer norms before (``"pre"``) or after (``"post"``) each
    half of a block. ``status`` is ``"confirmed"`` if the formulas were read in ``source``, and ``"reconstruction"`` if
    the source was not available and they were derived.
    """

    name: str
    summary: str
    attention: str
    attention_options: Options = Field(default_factory=dict)
    residual: str = "standard"
    residual_options: Options = Field(default_factory=dict)
    feedforward: str = "mlp"
    feedforward_options: Options = Field(default_factory=dict)
    embedding: str = "patch"
    embedding_options: Options = Field(default_factory=dict)
    text_embedding: str = "token"
    text_embedding_options: Options = Field(default_factory=dict)
    head: str = "cls"
    head_options: Options = Field(default_factory=dict)
    language_head: str = "tied"
    language_head_options: Options = Field(default_factory=dict)
    norm: Literal["pre", "post"] = "pre"
    norm_eps: float = Field(default=1e-6, gt=0)
    initialisation: Literal["xavier", "torch"] = "xavier"
    sizes: dict[str, Size]
    status: Literal["confirmed", "reconstruction"]
    source: str
    notes: str = ""

    def size(self, name: str) -> Size:
        """Return the size called ``name``.

        Raises:
            UnknownNameError: the variant has no such size; the message suggests similar names.
        """
        if name not in self.sizes:
            tail = suggest_names(name, list(self.sizes))
            raise UnknownNameError(f"variant {self.name!r} has no size {name!r}; {tail}")
        return self.sizes[name]
