"""Models of the attack benchmarks: a variant trained by a recipe on a task, and its correctly classified samples."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb.engine.device import choose_device
from robustbench_wb.engine.plan import SubjectPlan
from robustbench_wb.engine.subject import SubjectRequest, obtain_subject
from robustbench_wb.float_precision import exact_float32
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.variant import Size, Variant
from robustbench_wb.progress import SilentProgress
from robustbench_wb.stressors.model_access import ModelAccess, predict
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.task import Dataset, Split, default_patch, image_shape
from robustbench_wb.training.recipe import Scale, find_recipe


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Choice of a model to attack, its training and its task."""

    task: str
    variant: str
    size: str
    """Size of the variant, or ``WIDTHxDEPTHxHEADS``."""
    scale: Scale
    """Scale of the training recipe."""
    samples: int | None
    """Number of test samples; None: all."""
    side: int | None
    """Height and width in pixels to which images are enlarged; None: no change."""
    epochs: int | None
    """Number of training epochs; None: as in the recipe."""
    data_dir: str | None
    batch: int


@dataclass(frozen=True, eq=False, kw_only=True)
class AttackedModel:
    """A trained model and the samples that it classifies correctly."""

    model: nn.Module
    images: Tensor
    """Images, float32 (N, C, H, W) in [0, 1]."""
    labels: Tensor
    """True classes, int64 (N,)."""
    ids: Tensor
    """Row numbers in the test split, int64 (N,)."""
    batch: int
    """Number of samples in one forward pass."""

    @property
    def access(self) -> ModelAccess:
        """The model as stressors of this package take it."""
        return ModelAccess(model=self.model, batch_size=self.batch)

    def sample_batch(self, seed: int) -> SampleBatch:
        """The samples as stressors of this package take them."""
        return SampleBatch(inputs=self.images, labels=self.labels, ids=self.ids, seed=seed)

    def is_correct(self, images: Tensor) -> Tensor:
        """Whether perturbed versions of the samples, (N, C, H, W), are still classified correctly, bool (N,)."""
        return self.access.predict(images).argmax(1) == self.labels

    def robust_accuracy(self, images: Tensor) -> float:
        """Share of the samples whose perturbed versions, (N, C, H, W), are still classified correctly."""
        return float(self.is_correct(images).float().mean())


def prepare(choice: ModelChoice, recipe: str) -> AttackedModel:
    """Train the model or find it in the cache, and keep the test samples that it classifies correctly."""
    dataset = _enlarged(find_task(choice.task).load(choice.data_dir), choice.side)
    variant = _sized(VARIANTS.get(choice.variant), choice.size)
    numbers = find_recipe(recipe, choice.task if choice.side is None else dataset.label, choice.scale)
    if choice.epochs is not None:
        numbers = numbers.model_copy(update={"epochs": choice.epochs})
    plan = SubjectPlan(
        name=choice.variant, source=variant, size=choice.size, recipe_name=recipe, recipe=numbers, checkpoint=None
    )
    device = choose_device("cpu")
    exact_float32(torch)
    request = SubjectRequest(
        plan=plan, dataset=dataset, seed=0, device=device, label=choice.variant, progress=SilentProgress()
    )
    model = obtain_subject(request).model
    images = to_inputs(dataset.test.inputs[: choice.samples], device)
    labels = torch.tensor(dataset.test.labels[: choice.samples])
    right = torch.nonzero(predict(model, images, choice.batch).argmax(1) == labels)[:, 0]
    return AttackedModel(model=model, images=images[right], labels=labels[right], ids=right, batch=choice.batch)


def _sized(variant: Variant, size: str) -> Variant:
    """The variant, with ``size`` added to its sizes if it has the form ``WIDTHxDEPTHxHEADS``."""
    if size in variant.sizes or size.count("x") != 2:
        return variant
    width, depth, heads = (int(number) for number in size.split("x"))
    return variant.model_copy(update={"sizes": {size: Size(width=width, depth=depth, heads=heads)}})


def _enlarged(dataset: Dataset, side: int | None) -> Dataset:
    """The dataset with images enlarged to ``side`` x ``side`` pixels by bilinear interpolation; None: no change."""
    if side is None:
        return dataset
    train, test = (_enlarged_split(part, side) for part in (dataset.train, dataset.test))
    shape = image_shape(train, len(dataset.classes), default_patch(side, side))
    return replace(dataset, label=f"{dataset.label}-{side}", train=train, test=test, shape=shape)


def _enlarged_split(split: Split, side: int) -> Split:
    images = F.interpolate(torch.tensor(split.inputs).float(), size=(side, side), mode="bilinear")
    return replace(split, inputs=images.round().byte().numpy())
