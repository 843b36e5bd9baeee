"""Generated text tasks: short opinions with negations. No network is needed."""

import numpy as np

from robustbench_wb.source import code_digest
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.tasks.task_tokenizer import Encoding
from robustbench_wb.tasks.text_dataset import Corpus, encoded_dataset

TRAIN, TEST = 4000, 1000
_SEED = 0
_SUBJECTS = [
    "film",
    "story",
    "cast",
    "music",
    "plot",
    "ending",
    "hotel",
    "room",
    "view",
    "breakfast",
    "staff",
    "service",
    "soup",
    "bread",
    "wine",
    "menu",
]
_GOOD = ["good", "great", "lovely", "bright", "clever", "warm", "fresh", "superb", "charming", "neat", "brave", "calm"]
_BAD = ["bad", "awful", "dull", "cold", "stale", "weak", "noisy", "clumsy", "bland", "ugly", "rude", "grim"]
_DEGREES = ("", "very", "really", "quite", "rather", "so")
_NEGATIONS = ("not", "never", "hardly")
_VERBS = ("was", "seemed", "felt", "looked")
_OPENERS = ("", "honestly", "they say", "to me", "in the end", "last week")


class SentencesTask:
    """Texts of one or three clauses such as ``the soup was hardly good``; the label is the majority opinion.

    A negation inverts its clause, so that counting words is not enough. Texts are drawn from a fixed stream of numpy's
    RandomState, and no text occurs twice in the data. With ``language``, the task is to predict the next token.
    """

    def __init__(self, name: str, language: bool) -> None:
        self.name = name
        self.language = language

    def load(self, data_dir: str | None) -> Dataset:
        """Generate and tokenize the texts, or read them from the cache; ``data_dir`` is ignored."""
        encoding = Encoding(kind="bpe", vocabulary=500, length=32)
        return encoded_dataset(
            self.name, source_digest=code_digest(__name__), read=_generate, encoding=encoding, language=self.language
        )


def _generate() -> Corpus:
    draw = np.random.RandomState(_SEED)
    texts: dict[str, int] = {}
    while len(texts) < TRAIN + TEST:
        text, label = _sentence(draw)
        texts.setdefault(text, label)
    whole, labels = list(texts), np.array(list(texts.values()), np.int64)
    return Corpus(
        classes=("negative", "positive"), train=(whole[:TRAIN], labels[:TRAIN]), test=(whole[TRAIN:], labels[TRAIN:])
    )


def _sentence(draw: np.random.RandomState) -> tuple[str, int]:
    clauses, opinion = [], 0
    for _ in range(draw.choice((1, 3))):
        good, negated = draw.randint(2), draw.randint(3) == 0
        words = (
            "the",
            draw.choice(_SUBJECTS),
            draw.choice(_VERBS),
            draw.choice(_NEGATIONS) if negated else "",
            draw.choice(_DEGREES),
            draw.choice(_GOOD if good else _BAD),
        )
        clauses.append(" ".join(word for word in words if word))
        opinion += 1 if good != negated else -1
    opener = draw.choice(_OPENERS)
    return f"{opener} {' , '.join(clauses)} .".strip(), int(opinion > 0)


SENTENCES = SentencesTask("sentences", language=False)
SENTENCES_LM = SentencesTask("sentences-lm", language=True)
