"""The thing under test: its weights, how to build it, and its digests."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import nn

from robustbench_wb import rng
from robustbench_wb.engine.device import numerics
from robustbench_wb.engine.footprint import footprint
from robustbench_wb.engine.plan import SubjectPlan
from robustbench_wb.errors import SubjectError
from robustbench_wb.models.build import build, variant_code_digest
from robustbench_wb.models.external import Factory
from robustbench_wb.models.output_check import check_outputs
from robustbench_wb.models.shape import PAD, ImageShape, Shape
from robustbench_wb.models.variant import Variant
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.progress import Progress
from robustbench_wb.records.record import SubjectCard
from robustbench_wb.spec import digest
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.training.checkpoint import load_tensors, load_weights
from robustbench_wb.training.train_or_load import TrainedWeights, TrainingInputs, train_or_load


@dataclass(eq=False)
class Subject:
    """A trained model that is put together only when a cell really has to be measured."""

    card: SubjectCard
    model_code: str
    dataset: Dataset
    """The task's data as the subject takes them."""
    _make: Callable[[], nn.Module]

    @cached_property
    def model(self) -> nn.Module:
        """The model on its device, in eval mode, frozen."""
        return self._make()


def obtain_subject(
    plan: SubjectPlan,
    dataset: Dataset,
    seed: int,
    device: torch.device,
    label: str,
    progress: Progress,
    may_train: bool = True,
) -> Subject:
    """Train the subject, or find it in the cache, or load its checkpoint.

    Raises:
        SubjectError: it cannot be built, does not behave like a classifier, its training diverged, or it is not trained
            yet and ``may_train`` is false.
        CheckpointError: the given checkpoint cannot be used.
    """
    dataset = as_taken(plan, dataset)
    shape = dataset.shape
    make = _builder(plan, dataset, seed)
    model_code = digest({"source": _source_digest(plan, shape), "size": plan.size, "shape": shape})
    if isinstance(plan.source, Factory):
        first = make()
        # It may bring weights of its own: training that starts elsewhere is another training.
        model_code = digest({"model": model_code, "start": weights_digest(first.state_dict())})
        check_outputs(first.to(device), shape, device)
    trained = _weights(plan, make, model_code, dataset, seed, device, label, progress, may_train)

    def ready() -> nn.Module:
        model = make()
        model.load_state_dict(trained.tensors)
        model.to(device).eval().requires_grad_(False)
        check_outputs(model, shape, device)
        return model

    blank = make()
    parameters, cost = sum(p.numel() for p in blank.parameters()), footprint(blank, shape)
    card = SubjectCard(
        parameters, trained.weights, trained.seconds, trained.fresh, flops=cost.flops, peak_memory=cost.peak_memory
    )
    return Subject(card, model_code, dataset, ready)


def _source_digest(plan: SubjectPlan, shape: Shape) -> str:
    if isinstance(plan.source, Factory):
        return plan.source.code_digest
    return variant_code_digest(_variant(plan), plan.size, shape)


def _variant(plan: SubjectPlan) -> Variant:
    if not isinstance(plan.source, Variant):  # a shortcut is fitted elsewhere
        raise TypeError(f"{plan.name} is neither a variant nor a factory")
    return plan.source


def as_taken(plan: SubjectPlan, dataset: Dataset) -> Dataset:
    """The data as a subject takes them: a text model with a tokenizer of its own gets its own token ids.

    Raises:
        SubjectError: it has one, and the task has no whole texts: language modelling, or pixels in a row.
    """
    if not isinstance(plan.source, Factory) or plan.source.tokenizer is None or isinstance(dataset.shape, ImageShape):
        return dataset
    if not dataset.test.texts:
        raise SubjectError(f"{plan.name} has a tokenizer of its own, and task {dataset.label!r} has no texts for it")
    tokenizer, length = plan.source.tokenizer(), dataset.shape.length
    splits = (dataset.train, dataset.test)
    # How long the texts are in its own tokens nobody counts.
    train, test = (replace(part, inputs=tokenizer.encode(part.texts, length), sizes=None) for part in splits)
    every = (train.inputs, test.inputs)
    ids = 1 + max(int(tokens.max()) for tokens in every)
    longest = max(int((tokens != PAD).sum(1).max()) for tokens in every)  # the model may have places for fewer
    shape = dataset.shape.model_copy(update={"vocabulary": ids, "length": longest})
    return replace(dataset, train=train, test=test, shape=shape, tokenizer=tokenizer)


def _builder(plan: SubjectPlan, dataset: Dataset, seed: int) -> Callable[[], nn.Module]:
    """A function that builds the untrained model, the same one each time."""
    shape = dataset.shape
    if isinstance(plan.source, Factory):
        return partial(_from_factory, plan.source, shape, seed)
    variant = _variant(plan)
    mean, std = dataset.train.moments() if isinstance(shape, ImageShape) else ([], [])
    return partial(build, variant, plan.size, shape, mean=mean, std=std, seed=seed)


def _from_factory(factory: Factory, shape: Shape, seed: int) -> nn.Module:
    """A user's model, its random initialisation drawn from a generator of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(rng.stream_key(seed, "factory-init"))
        return factory(shape)


def untrained(plan: SubjectPlan, dataset: Dataset, seed: int) -> nn.Module:
    """The subject on the CPU as it is built, or with the weights of its checkpoint; not trained, not probed.

    Raises:
        SubjectError: it cannot be built.
        CheckpointError: the given checkpoint cannot be used.
    """
    model = _builder(plan, dataset, seed)()
    if plan.checkpoint is not None:
        load_weights(model, load_tensors(plan.checkpoint), plan.checkpoint)
    return model


def _weights(
    plan: SubjectPlan,
    make: Callable[[], nn.Module],
    model_code: str,
    dataset: Dataset,
    seed: int,
    device: torch.device,
    label: str,
    progress: Progress,
    may_train: bool,
) -> TrainedWeights:
    if plan.checkpoint is not None:
        model = make()
        load_weights(model, load_tensors(plan.checkpoint), plan.checkpoint)
        return TrainedWeights(
            tensors=model.state_dict(), weights=weights_digest(model.state_dict()), seconds=0.0, fresh=False
        )
    inputs = TrainingInputs(
        build=make,
        model_code=model_code,
        recipe=plan.recipe,
        seed=seed,
        split=dataset.train,
        device=device,
        numerics=numerics(device),
    )
    return train_or_load(inputs, label=label, progress=progress, may_train=may_train)
