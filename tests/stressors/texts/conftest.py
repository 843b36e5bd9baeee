"""A few opinions, a tokenizer for them, and models small enough to compute by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.providers import library
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


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory: pytest.TempPathFactory, sentences: Dataset) -> Path:
    """A BERT whose padding has id 4, with its own cased tokenizer."""
    return save_bert(tmp_path_factory.mktemp("hf"), sentences, seed=0)


def save_bert(folder: Path, sentences: Dataset, *, seed: int) -> Path:
    """Save an untrained BERT and a tokenizer of the words of the task in a folder."""
    transformers = library.load_library("transformers", "hf")
    import tokenizers

    names = list(sentences.lexicon.words)
    order = [*names[:4], "[PAD]", *names[4:], ".", ",", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: index for index, word in enumerate(order)}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    ends = [(name, vocabulary[name]) for name in ("[SEP]", "[CLS]")]
    core.post_processor = tokenizers.processors.BertProcessing(*ends)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(order), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, num_labels=2, pad_token_id=4, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder
