"""What the attack benchmarks attack: a variant trained by a recipe on a task, and the samples that it gets right."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb.engine.device import choose_device, exact_float32
from robustbench_wb.engine.plan import SubjectPlan
from robustbench_wb.engine.subject import SubjectRequest, obtain_subject
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.variant import Size, Variant
from robustbench_wb.progress import SilentProgress
from robustbench_wb.stressors.stressor import predict
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.task import Dataset, Split, default_patch, image_shape
from robustbench_wb.training.recipe import Scale, find_recipe


@dataclass(frozen=True)
class Choice:
    """Which model is attacked, and on what."""

    task: str
    variant: str
    size: str
    """A size of the variant, or ``WIDTHxDEPTHxHEADS``."""
    scale: Scale
    samples: int | None
    side: int | None
    """Images are enlarged to this many pixels a side; None: as they are."""
    epochs: int | None
    """Of training; None: the recipe's."""
    data_dir: str | None
    batch: int


@dataclass(frozen=True, eq=False)
class Bench:
    """A trained model and the samples that it classifies correctly."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    ids: Tensor
    batch: int

    def robust(self, images: Tensor) -> float:
        """Share of the samples that are still right."""
        return float((predict(self.model, images, self.batch).argmax(1) == self.labels).float().mean())


def prepare(choice: Choice, recipe: str) -> Bench:
    """Train (or find) the model and take the first test samples, those that are right."""
    dataset = _enlarged(find_task(choice.task).load(choice.data_dir), choice.side)
    variant = _sized(VARIANTS.get(choice.variant), choice.size)
    numbers = find_recipe(recipe, choice.task if choice.side is None else dataset.label, choice.scale)
    if choice.epochs is not None:
        numbers = numbers.model_copy(update={"epochs": choice.epochs})
    plan = SubjectPlan(
        name=choice.variant, source=variant, size=choice.size, recipe_name=recipe, recipe=numbers, checkpoint=None
    )
    device = choose_device("cpu")
    exact_float32()
    request = SubjectRequest(
        plan=plan, dataset=dataset, seed=0, device=device, label=choice.variant, progress=SilentProgress()
    )
    model = obtain_subject(request).model
    images = to_inputs(dataset.test.inputs[: choice.samples], device)
    labels = torch.tensor(dataset.test.labels[: choice.samples])
    right = torch.nonzero(predict(model, images, choice.batch).argmax(1) == labels)[:, 0]
    return Bench(model, images[right], labels[right], right, choice.batch)


def _sized(variant: Variant, size: str) -> Variant:
    """The variant, with the size asked for among its own."""
    if size in variant.sizes or size.count("x") != 2:
        return variant
    width, depth, heads = (int(number) for number in size.split("x"))
    return variant.model_copy(update={"sizes": {size: Size(width=width, depth=depth, heads=heads)}})


def _enlarged(dataset: Dataset, side: int | None) -> Dataset:
    """The same images, bilinearly brought to ``side`` x ``side``."""
    if side is None:
        return dataset
    train, test = (_enlarged_split(part, side) for part in (dataset.train, dataset.test))
    shape = image_shape(train, len(dataset.classes), default_patch(side, side))
    return replace(dataset, label=f"{dataset.label}-{side}", train=train, test=test, shape=shape)


def _enlarged_split(split: Split, side: int) -> Split:
    images = F.interpolate(torch.tensor(split.inputs).float(), size=(side, side), mode="bilinear")
    return replace(split, inputs=images.round().byte().numpy())
