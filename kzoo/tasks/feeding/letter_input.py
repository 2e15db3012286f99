"""What tasks share whose models may read letters of DNA, RNA or proteins."""

from typing import Any

import numpy as np

from kzoo.data import columns
from kzoo.tasks.base import Task


class LetterInput(Task):
    """Sequences of letters, from data sets, tables, files and lists, for models that read them; else as `Task`."""

    takes_texts = True

    def batches(self, name, model, how) -> Any:
        if columns.lettered(model) is None:
            return super().batches(name, model, how)
        from kzoo.data.genomes import lettered, sequence_sources

        found = sequence_sources.read(self, name, model, how)
        return lettered.from_parts(
            name, found.identity, found.parts, model, self.target(model), how.options, found.class_names, how.skip_bad,
            found.notes,
        )  # fmt: skip

    def width_of(self, name, model, how) -> int | None:
        if columns.lettered(model) is None or name == "synthetic":
            return super().width_of(name, model, how)
        from kzoo.data.genomes import sequence_sources

        return sequence_sources.width(self, name, model, how)

    def arrays(self, name, parts, model, options, class_names=None) -> Any:
        """Lists of texts, or of arrays of ids of any length; an array of ids as it is."""
        if columns.lettered(model) is None or not all(isinstance(x, list) for x, *_ in parts.values()):
            return super().arrays(name, parts, model, options, class_names)
        from kzoo.data.genomes import lettered

        pairs = {split: (x, y) for split, (x, y, _) in parts.items()}
        return lettered.from_parts(name, {"name": name}, pairs, model, self.target(model), options, class_names)

    def predict_texts(self, model, texts, batch_size=64) -> Any:
        """The results of sequences as texts: an array, or a list of arrays where each letter has a result."""
        if columns.lettered(model) is None:
            return super().predict_texts(model, texts, batch_size)
        from kzoo.data.genomes import lettered

        ids, _, notes = lettered.encoded("texts", texts, model)
        self._tell(notes)
        return self._of_ids(model, ids, batch_size)

    def _of_ids(self, model, ids, batch_size=64):
        """Results of sequences of any length, of which those of like length are read together."""
        from kzoo.data.genomes import lettered

        order, results = np.argsort([len(one) for one in ids], kind="stable"), [None] * len(ids)
        for begin in range(0, len(order), batch_size):
            places = order[begin : begin + batch_size]
            found = self.predict(model, lettered.padded([ids[place] for place in places]), batch_size)
            for place, one in zip(places, found, strict=True):
                results[place] = one[: len(ids[place])] if found.ndim == 3 else one
        return results if results[0].ndim == 2 else np.stack(results)

    def rows_of_texts(self, model, texts, tokenizer, top=3) -> list:
        if columns.lettered(model) is None:
            return super().rows_of_texts(model, texts, tokenizer, top)
        rows = self.rows(self.predict_texts(model, texts), model.kzoo.class_names, top)
        return [{"text": _short(text), **row} for text, row in zip(texts, rows, strict=True)]

    def rows_of_files(self, model, paths, top=3, skip_bad=False) -> list:
        """One row for every record of FASTA files."""
        from kzoo.data.genomes import genome_files

        if columns.lettered(model) is None:
            return super().rows_of_files(model, paths, top, skip_bad)
        rows = []
        for path in paths:
            if str(path).endswith(".npy"):
                rows += super().rows_of_files(model, [path], top, skip_bad)
                continue
            records = genome_files.read_fasta(path)
            found = self.rows(self.predict_texts(model, [*records.values()]), model.kzoo.class_names, top)
            rows += [{"file": str(path), "row": name, **row} for name, row in zip(records, found, strict=True)]
        return rows

    @staticmethod
    def _tell(notes):
        import logging

        for note in notes:
            logging.getLogger("kzoo").warning(note)


def _short(text):
    return text if len(text) <= 40 else f"{text[:18]}...{text[-18:]} ({len(text):,} letters)"
