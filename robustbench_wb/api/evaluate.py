"""``evaluate``: the robustness of a model in memory on samples in memory."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import torch
from torch import nn

from robustbench_wb.analysis.score import score_rows
from robustbench_wb.api.arguments import COUNTS, whole_number
from robustbench_wb.api.evaluation import Evaluation, EvaluationRow, evaluation_row
from robustbench_wb.api.evaluation_model import check_transform, chosen_outputs, image_task, pad_token_kept, text_task
from robustbench_wb.api.evaluation_samples import AnyTokenizer, Array, Labels, check_classes, doubts_about_labels
from robustbench_wb.api.evaluation_stressors import Stressors, default_stressors, parse_stressors
from robustbench_wb.engine.batch import BatchSizes
from robustbench_wb.engine.device import choose_device
from robustbench_wb.engine.in_memory import InMemoryCell, InMemoryModel
from robustbench_wb.engine.request import SearchPrecision
from robustbench_wb.engine.search_precision import refuse_search_precision
from robustbench_wb.engine.task_samples import TaskSamples
from robustbench_wb.engine.torch_state import own_state
from robustbench_wb.errors import SubjectError, UsageError
from robustbench_wb.interrupts import watching_interrupts
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.chosen_outputs import choose_outputs
from robustbench_wb.models.guarded import lent
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.wrapped import Logits, borrowed, count_classes, device_of
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.record import Cell, Measurement, State, SubjectCard
from robustbench_wb.user_code import UserCode


def evaluate(
    model: nn.Module | Logits,
    inputs: Array | Sequence[str],
    labels: Labels,
    *,
    stressors: Stressors | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    transform: Logits | None = None,
    tokenizer: AnyTokenizer | None = None,
    length: int | None = None,
    outputs: Sequence[int] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    search_precision: SearchPrecision = "float32",
    calibration: bool = False,
    keep_images: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a model under attacks and corruptions. Nothing is trained or written; all state is put back.

    Args:
        model: module or function from a batch to logits (B, classes). A batch holds images in [0, 1] or, with
            ``tokenizer``, token ids int64 (B, L), padded with 0 on the right.
        inputs: images (N, C, H, W), uint8 levels 0..255 or float in [0, 1]; or texts.
        labels: class numbers, integers from 0, (N,).
        stressors: attacks and corruptions, as values or signatures; ``clean`` is always evaluated. None: those of the
            suite ``adversarial`` at 8/255; for texts, of ``adversarial-text`` at their lowest strength.
        mean: with ``std``, ``(x - mean) / std`` inside the model; one number per channel, or one for all.
        std: see ``mean``.
        transform: other differentiable preprocessing inside the model. Radii stay those of pixels in [0, 1].
        tokenizer: of transformers, of this package, or a function from a text to its token ids.
        length: most tokens of one text, perturbed or not; None: those of the longest given text.
        outputs: logits that are possible answers to images, as on ImageNet-A; label k means ``outputs[k]``. None: all.
        seed: seed of all noise.
        batch_size: samples per forward pass, never changes a result; None: as many as are fast and fit.
        device: None: where the model is.
        search_precision: ``bfloat16`` or ``tf32`` while attacks search; every outcome is decided in float32.
        calibration: measure calibration error and Brier score, except under attacks. ``ood-*`` always has its AUROC.
        keep_images: keep the perturbed images. Perturbed texts are always kept.
        progress: told what is measured.

    Raises:
        UsageError: an argument cannot be used; the message names it.
        SubjectError: the model raises, or does not return logits (N, classes).
    """
    run = _Settings(seed=seed, batch_size=batch_size, device=device, keep_images=keep_images, progress=progress)
    run = replace(run, search_precision=search_precision, outputs=outputs, calibration=calibration)
    only_images = {"mean": mean, "std": std, "transform": transform, "outputs": outputs}
    _refuse_other_inputs(tokenizer, only_images=only_images, length=length)
    code = UserCode(_name(model))
    with watching_interrupts(), code.running(), pad_token_kept(model):
        if tokenizer is None:
            subject, samples = image_task(model, inputs, labels, mean=mean, std=std, transform=transform)
        else:
            subject, samples = text_task(model, inputs, labels, tokenizer=tokenizer, length=length)
        # A Transformer of this package needs no guard.
        with nullcontext() if subject is model else lent(subject, code):
            return _evaluate(model, subject, samples, stressors=stressors, transform=transform, run=run)


def _refuse_other_inputs(
    tokenizer: AnyTokenizer | None, *, only_images: Mapping[str, object], length: int | None
) -> None:
    """Refuse arguments for images with a tokenizer, and arguments for texts without one."""
    if tokenizer is None and length is not None:
        raise UsageError("length is for texts, which need a tokenizer; leave it out for images", "length", "tokenizer")
    if tokenizer is not None and any(given is not None for given in only_images.values()):
        *others, last = only_images
        raise UsageError(f"{', '.join(others)} and {last} are for images, not texts", *only_images)


def _name(model: object) -> str:
    return str(getattr(model, "__name__", type(model).__name__))


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """How samples are measured; see ``evaluate``."""

    seed: int
    batch_size: int | None
    device: str | torch.device | None
    keep_images: bool
    progress: Progress | None
    search_precision: SearchPrecision = "float32"
    outputs: Sequence[int] | None = None
    calibration: bool = False

    def __post_init__(self) -> None:
        whole_number("seed", self.seed, low=0)
        if self.batch_size is not None:
            whole_number("batch_size", self.batch_size, low=1, stop=COUNTS)
        if self.search_precision not in get_args(SearchPrecision):
            known = ", ".join(get_args(SearchPrecision))
            raise UsageError(
                f"search_precision must be one of {known} (got {self.search_precision!r})", "search_precision"
            )


def _evaluate(
    model: Logits,
    subject: nn.Module,
    samples: TaskSamples,
    *,
    stressors: Stressors | None,
    transform: Logits | None,
    run: _Settings,
) -> Evaluation:
    """Measure ``subject``, which is ``model`` behind its preprocessing, and put everything back."""
    image = isinstance(samples.shape, ImageShape)
    chosen = None if stressors is None else parse_stressors(stressors, samples.shape)
    tokenizer = None if samples.text is None else samples.text.tokenizer
    device = device_of(model) if run.device is None else choose_device(str(run.device))
    refuse_search_precision(run.search_precision, device)
    with own_state(run.seed, device), borrowed(model, device), borrowed(transform, device):
        subject.eval()
        first = to_inputs(samples.inputs[:2], device)
        try:
            classes = count_classes(subject, first)
        except SubjectError:
            if transform is not None:
                check_transform(transform, first)
            raise
        if run.outputs is not None:
            choose_outputs(subject, chosen_outputs(run.outputs, classes))
            classes = count_classes(subject, first)
        check_classes(samples.labels, classes)
        cells = InMemoryModel(
            model=subject,
            samples=samples,
            seed=run.seed,
            device=device,
            batch=BatchSizes(run.batch_size, device).of(subject, samples.inputs),
            progress=run.progress or SilentProgress(),
            stressors=default_stressors(subject, tokenizer, image=image) if chosen is None else chosen,
            search_precision=run.search_precision,
            keep_images=run.keep_images,
            calibration=run.calibration,
        ).cells()
    name = _name(model)
    rows = tuple(_row(cell, samples, model=name, classes=classes) for cell in cells)
    return Evaluation(
        model=name,
        classes=classes,
        n=len(samples),
        seed=run.seed,
        device=str(device),
        rows=rows,
        notes=doubts_about_labels(samples.labels, classes, rows[0].accuracy, image=image),
    )


def _row(cell: InMemoryCell, samples: TaskSamples, *, model: str, classes: int) -> EvaluationRow:
    stressor, record, shape = cell.stressor, cell.record, samples.shape
    named = Cell(
        suite="",
        suite_version=0,
        scale="",
        task="",
        variant=model,
        size="",
        recipe="",
        stressor=stressor.label,
        strength=stressor.strength,
        seed=cell.identity.seed,
        protocol=stressor.protocol,
        classes=classes,
        side=min(shape.height, shape.width) if isinstance(shape, ImageShape) else 0,
    )
    card = SubjectCard(parameters=0, weights="", train_seconds=0.0, trained=False)
    measurement = Measurement(
        cell=named,
        identity=cell.identity,
        subject=card,
        record=record,
        reused=False,
        samples=len(samples),
        error=cell.error,
        credibility=cell.credibility,
    )
    (row,) = score_rows([measurement])
    count = len(samples)
    return evaluation_row(
        row,
        checks=() if cell.credibility is None else cell.credibility.checks,
        states=np.full(count, State.NOT_RUN, np.int8) if record is None else record.states,
        losses=np.full(count, np.nan, np.float32) if record is None else record.losses,
        images=cell.perturbed.images,
        texts=None if cell.perturbed.texts is None else tuple(cell.perturbed.texts),
    )
