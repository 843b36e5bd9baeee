"""A few opinions, a tokenizer for them, and models small enough to compute by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import PAD, TextShape
from robustbench_wb.stressors.model_access import predict
from robustbench_wb.stressors.sample_batch import TextSide
from robustbench_wb.tasks.sentences import SENTENCES
from robustbench_wb.tasks.task import Dataset
from tests.known import a, known, parts
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch

MakeBatch = Callable[..., AttackedBatch]


class Bag(nn.Module):
    """Mean of the word vectors, then a linear map: its loss is monotone in a linear function of every vector."""

    def __init__(self, vocabulary: int, width: int = 6) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.table, self.head = nn.Embedding(vocabulary, width), nn.Linear(width, 2)

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, tokens: Tensor) -> Tensor:
        keep = (tokens != PAD).float()[:, :, None]
        return self.head((self.table(tokens) * keep).sum(1) / keep.sum(1))


@pytest.fixture(scope="session")
def sentences(cache: str) -> Dataset:
    return SENTENCES.load(None)


@pytest.fixture(scope="session")
def bag(sentences: Dataset) -> nn.Module:
    return Bag(a(TextShape, sentences.shape).vocabulary).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def encoder(sentences: Dataset) -> nn.Module:
    """An untrained transformer, its word vectors grown so that words matter to it."""
    model = build(VARIANTS.get("bert"), "nano", sentences.shape, seed=0).eval().requires_grad_(False)
    parts(model).embedding.words.weight.mul_(20)
    return model


@pytest.fixture(scope="session")
def batch_of(sentences: Dataset) -> MakeBatch:
    """Factory for batches of the first samples; labels are the model's predictions, so that all are correct."""

    def make(
        model: nn.Module,
        count: int = 24,
        *,
        order: Tensor | None = None,
        batch_size: int = 64,
        texts: list[str] | None = None,
    ) -> AttackedBatch:
        rows = torch.arange(count) if order is None else order
        if texts is None:
            texts = [sentences.test.texts[row] for row in rows.tolist()]
            inputs = to_inputs(np.asarray(sentences.test.inputs)[rows.numpy()], "cpu")
        else:
            inputs = to_inputs(known(sentences.tokenizer).encode(texts, 32), "cpu")
        return attacked_batch(
            model,
            inputs=inputs,
            labels=predict(model, inputs, 64).argmax(1) if len(rows) else rows,
            ids=rows,
            batch_size=batch_size,
            text=TextSide(tokenizer=known(sentences.tokenizer), texts=texts, lexicon=sentences.lexicon),
        )

    return make
