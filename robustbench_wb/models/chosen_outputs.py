"""Models that answer with some of their outputs only, or with groups of them, as is usual on other test sets of
ImageNet's classes. This imports no torch."""

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Final

from robustbench_wb.errors import SubjectError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn

MARK: Final = ";outputs="
"""Beginning of the part of a task's name that says how many outputs are taken."""
MERGED: Final = " merged of "
"""Part of the name of a task whose outputs are merged."""
_HOOK: Final = "_robustbench_wb_chosen_outputs"


class TakenOutputs(Spec):
    """Base of the ways in which the outputs of a model are the classes of a task."""

    total: int
    """Number of outputs of the model."""

    @property
    @abstractmethod
    def text(self) -> str:
        """Part of the name of the data, which begins with ``MARK``."""

    @abstractmethod
    def take(self, logits: "Tensor") -> "Tensor":
        """Logits of the classes of the task, (B, classes), from those of the model, (B, total)."""

    def whole(self, shape: ImageShape) -> ImageShape:
        """Shape that the model is built for: that of the task, with all outputs of the model."""
        return shape.model_copy(update={"classes": self.total})


class ChosenOutputs(TakenOutputs):
    """Outputs of a model that are possible answers. Predictions and attacks see the logits of these and of no others.

    This is the protocol of ImageNet-A (Hendrycks et al. 2021, arXiv 1907.07174) and ImageNet-R (Hendrycks et al. 2021,
    arXiv 2006.16241), whose 200 classes are part of the 1,000 of the models.
    """

    columns: tuple[int, ...]
    """Outputs that are possible answers, ascending, from 0; class k of the task is output ``columns[k]``."""

    @property
    def text(self) -> str:
        """Part of the name of the data, like ``;outputs=200 of 1000``."""
        return f"{MARK}{len(self.columns)} of {self.total}"

    def take(self, logits: "Tensor") -> "Tensor":
        """Logits of the chosen outputs, (B, chosen)."""
        return logits[:, list(self.columns)]


class MergedOutputs(TakenOutputs):
    """Groups of outputs of a model that mean the same. The logit of a group is the largest one of its outputs.

    The largest logit then belongs to the group that holds the model's prediction: a prediction is correct if it is any
    of the outputs that mean the label. This is the protocol of ObjectNet (Barbu et al. 2019, NeurIPS).
    """

    groups: tuple[tuple[int, ...], ...]
    """Outputs of each class of the task, ascending, from 0; each output is in one group."""

    @property
    def text(self) -> str:
        """Part of the name of the data, like ``;outputs=887 merged of 1000``."""
        return f"{MARK}{len(self.groups)}{MERGED}{self.total}"

    def take(self, logits: "Tensor") -> "Tensor":
        """Largest logit of each group, (B, groups)."""
        widest = max(map(len, self.groups))
        padded = [(*group, *group[:1] * (widest - len(group))) for group in self.groups]
        return logits[:, padded].amax(2)


def choose_outputs(model: "nn.Module", outputs: TakenOutputs) -> "nn.Module":
    """Make a model return the logits of the classes of a task, (B, classes), and return the model.

    Its class, attributes and weights stay as they are. An earlier choice is replaced, because a factory may return the
    same model twice.
    """
    earlier = vars(model).pop(_HOOK, None)
    if earlier is not None:
        earlier.remove()
    vars(model)[_HOOK] = model.register_forward_hook(partial(_choose, outputs))
    return model


def _choose(outputs: TakenOutputs, model: object, given: object, logits: object) -> object:
    """Logits of the classes of the task.

    Raises:
        SubjectError: the model has another number of outputs.
    """
    import torch

    if not isinstance(logits, torch.Tensor):
        return logits  # the check of outputs says what is wrong
    if logits.ndim != 2 or logits.shape[1] != outputs.total:
        raise SubjectError(
            f"the model returned shape {tuple(logits.shape)}; expected (B, {outputs.total}), of which the task takes "
            f"{outputs.text.removeprefix(MARK).partition(' of ')[0]} outputs"
        )
    return outputs.take(logits)
