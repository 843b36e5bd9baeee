"""Models that answer with some of their outputs only, as is usual on subsets of ImageNet. This imports no torch."""

from functools import partial
from typing import TYPE_CHECKING, Final

from robustbench_wb.errors import SubjectError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    from torch import nn

MARK: Final = ";outputs="
"""Beginning of the part of a task's name that says how many outputs are taken."""
_HOOK: Final = "_robustbench_wb_chosen_outputs"


class ChosenOutputs(Spec):
    """Outputs of a model that are possible answers. Predictions and attacks see the logits of these and of no others.

    This is the protocol of ImageNet-A (Hendrycks et al. 2021, arXiv 1907.07174) and ImageNet-R (Hendrycks et al. 2021,
    arXiv 2006.16241), whose 200 classes are part of the 1,000 of the models.
    """

    total: int
    """Number of outputs of the model."""
    columns: tuple[int, ...]
    """Outputs that are possible answers, ascending, from 0; class k of the task is output ``columns[k]``."""

    @property
    def text(self) -> str:
        """Part of the name of the data, like ``;outputs=200 of 1000``."""
        return f"{MARK}{len(self.columns)} of {self.total}"

    def whole(self, shape: ImageShape) -> ImageShape:
        """Shape that the model is built for: that of the task, with all outputs of the model."""
        return shape.model_copy(update={"classes": self.total})


def choose_outputs(model: "nn.Module", outputs: ChosenOutputs) -> "nn.Module":
    """Make a model return the logits of some of its outputs, (B, chosen), and return the model.

    Its class, attributes and weights stay as they are. An earlier choice is replaced, because a factory may return the
    same model twice.
    """
    earlier = vars(model).pop(_HOOK, None)
    if earlier is not None:
        earlier.remove()
    vars(model)[_HOOK] = model.register_forward_hook(partial(_choose, outputs))
    return model


def _choose(outputs: ChosenOutputs, model: object, given: object, logits: object) -> object:
    """Logits of the chosen outputs.

    Raises:
        SubjectError: the model has another number of outputs.
    """
    import torch

    if not isinstance(logits, torch.Tensor):
        return logits  # the check of outputs says what is wrong
    if logits.ndim != 2 or logits.shape[1] != outputs.total:
        raise SubjectError(
            f"the model returned shape {tuple(logits.shape)}; expected (B, {outputs.total}), of which the task takes "
            f"{len(outputs.columns)} outputs"
        )
    return logits[:, list(outputs.columns)]
