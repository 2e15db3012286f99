"""Text classification: a class for a text, or for a pair of texts."""

from typing import Any

from kzoo.tasks.base import Task
from kzoo.tasks.texts import PRETRAINING

# Devlin et al. 2018, section A.3
RECIPE = {**PRETRAINING, "learning_rate": 5e-5, "epochs": 3, "batch_size": 32}


class TextClassification(Task):
    """One class per text or pair of texts."""

    name = "text_classification"
    default_data = "movie_sentiment"
    recipe = RECIPE
    takes_texts = True

    def batches(self, name, model, how) -> Any:
        from kzoo.data import labelled_texts
        from kzoo.data.sources import corpora, prepared, table_files
        from kzoo.tasks.feeding import from_tables

        files = table_files.find(name)
        if files is not None:
            return from_tables.labelled(self, name, files, model, how)
        builder = self.prepared(name, how)
        parts, class_names = corpora.read_labelled(builder, prepared.sizes(builder))
        identity = prepared.identity(name, builder)
        target = self.target(model)
        return labelled_texts.from_parts(name, identity, parts, model, target, how.options, how.texts, class_names)


TASK = TextClassification()
