"""What a variant is: a choice of sockets and sizes, as data. Nothing here imports torch."""

from typing import Literal

from pydantic import Field, model_validator

from robustbench_wb.errors import UnknownNameError
from robustbench_wb.registry import suggest
from robustbench_wb.spec import Spec

Option = bool | int | float | str
Options = dict[str, Option]


class Size(Spec):
    """How large a backbone is; ``dim_head`` is ``width / heads`` unless given."""

    width: int = Field(gt=0)
    depth: int = Field(gt=0)
    heads: int = Field(gt=0)
    dim_head: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, given: object) -> object:
        # Derived before freezing, so that a size written with or without dim_head is the same size.
        if not isinstance(given, dict) or given.get("dim_head") or not given.get("width") or not given.get("heads"):
            return given
        width, heads = int(given["width"]), int(given["heads"])
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads; give dim_head")
        return {**given, "dim_head": width // heads}


class Variant(Spec):
    """An architecture recipe: which mechanism sits in each socket, with its options, at named sizes.

    It serves every modality: ``embedding`` reads images, ``text_embedding`` token ids; ``head`` answers with a class,
    ``language_head`` with the next token. ``norm`` says whether the halves of a block normalise what they take
    (``"pre"``) or what they leave (``"post"``). ``status`` says whether the formulas were read in the source named
    (``"confirmed"``) or derived because the source could not be had.
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
        """The size of that name.

        Raises:
            UnknownNameError: the variant has no such size; the message suggests near ones.
        """
        if name not in self.sizes:
            tail = suggest(name, list(self.sizes))
            raise UnknownNameError(f"variant {self.name!r} has no size {name!r}; {tail}")
        return self.sizes[name]
