"""BERT's pre-training: masked words, and whether the second of two segments follows the first."""

from typing import Any

from kzoo.data import columns
from kzoo.tasks import base
from kzoo.tasks.losses import Accuracy, SparseCrossEntropy
from kzoo.tasks.texts import PRETRAINING, learned_from
from kzoo.tasks.wanted_outputs import require_named_outputs


class SentencePairPretraining(base.Task):
    """Both tasks of Devlin et al. 2018, section 3.1, learned at once."""

    name = "sentence_pair_pretraining"
    default_data = "shakespeare"
    recipe = PRETRAINING

    def target(self, model) -> dict:
        return {**base.label_by_output(model), "masked_words": columns.TokenLabel(model.outputs[0].shape[-1], first=1)}

    def check_suits(self, model) -> None:
        require_named_outputs(self, model, "masked_words", "next_sentence")

    def loss(self, model, label_smoothing=0.0) -> dict:
        """The sum of both losses, Devlin et al. 2018, section A.2."""
        return {name: SparseCrossEntropy(True, label_smoothing) for name in model.output}

    def metrics(self, model) -> list | dict:
        return {name: [Accuracy()] for name in model.output}

    def width_of(self, name, model, how) -> None:
        return None

    def batches(self, name, model, how) -> Any:
        from kzoo.data import sentence_pairs

        return learned_from(sentence_pairs.from_texts, self, name, model, how)


TASK = SentencePairPretraining()
