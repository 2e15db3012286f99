"""Speech recognition: what is said in a recording, learned letter by letter without knowing when each is said."""

import copy
from typing import Any

import numpy as np

from kzoo.tasks import base
from kzoo.tasks.speech_recognition.ctc import CTCLoss
from kzoo.tasks.speech_recognition.transcripts import Transcript
from kzoo.tasks.wanted_outputs import require_outputs

RECIPE = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-2, "decay_vectors": False, "clip_norm": 5.0,
    "schedule": "cosine", "warmup_steps": 200, "augment": "speech", "epochs": 100, "batch_size": 16,
}  # fmt: skip


class SpeechRecognition(base.Task):
    """Transcripts of sounds by connectionist temporal classification.

    Attributes:
        decoding: how frames become letters; the likeliest label of every frame by default.
    """

    name = "speech_recognition"
    default_data = "ljspeech"
    recipe = RECIPE
    decoding = None

    def check_suits(self, model) -> None:
        require_outputs(self, model, rank=3, least=2)

    def target(self, model) -> Any:
        return Transcript(model.outputs[0].shape[-1])

    def loss(self, model, label_smoothing=0.0) -> Any:
        if label_smoothing:
            raise ValueError(f"label_smoothing={label_smoothing}: the CTC loss has none; leave it at 0")
        return CTCLoss()

    def metrics(self, model) -> list:
        """None while it trains: `score` counts words and letters."""
        return []

    def width_of(self, name, model, how) -> None:
        return None

    def takes(self, builder) -> bool:
        from kzoo.tasks.speech_recognition import transcribed

        return transcribed.has_transcripts(builder)

    def batches(self, name, model, how) -> Any:
        from kzoo.tasks.speech_recognition import transcribed

        return transcribed.load(self, name, model, how)

    def synthetic(self, name, model, how) -> Any:
        from kzoo.tasks.speech_recognition import transcribed

        return transcribed.synthetic(name, model, base.SYNTHETIC_SIZES, how.options)

    def arrays(self, name, parts, model, options, class_names=None) -> Any:
        from kzoo.tasks.speech_recognition import transcribed

        return transcribed.from_arrays(name, parts, model, options)

    def decoded_by(self, **how) -> "SpeechRecognition":
        """This task with another way from frames to letters; keywords of `Decoding`."""
        from kzoo.tasks.speech_recognition.decoding import Decoding

        other = copy.copy(self)
        other.decoding = Decoding(**how)
        return other

    def predict(self, model, x, batch_size=16) -> list:
        """The transcript of each clip."""
        return self.transcribe(model, x, self._tokenizer(model), batch_size)

    def transcribe(self, model, x, tokenizer, batch_size=16) -> list:
        """The transcript of each clip in checked inputs, spelled by a tokenizer."""
        decoder, found = self._decoder(tokenizer), []
        for part in base.in_batches(x, batch_size):
            found += decoder.texts(np.asarray(model.predict_on_batch(part), np.float32))
        return found

    def _decoder(self, tokenizer):
        from kzoo.tasks.speech_recognition.decoding import Decoding

        return (self.decoding or Decoding()).decoder(tokenizer)

    def _tokenizer(self, model):
        if model.kzoo.tokenizer is None:
            raise ValueError(
                f"{model.name} has no alphabet to spell with: train it, load a run, or "
                "kzoo.catalog.update_card(model, tokenizer=kzoo.data.make_alphabet())"
            )
        return model.kzoo.tokenizer

    def _rows(self, model, x, tokenizer):
        from kzoo.tasks.speech_recognition import transcripts

        logits = np.asarray(model.predict_on_batch(x), np.float32)
        return self._decoder(tokenizer).rows(logits, transcripts.seconds_per_frame(model))

    def rows(self, results, class_names, top=3) -> list:
        return [{"text": text} for text in results]

    def rows_of_files(self, model, paths, top=3, skip_bad=False) -> list:
        """One row per recording: `text`, and `words` with the seconds at which each begins and ends."""
        from kzoo.data import columns, prepare_inputs
        from kzoo.data.sounds import sound_files
        from kzoo.tasks import reading

        heard = columns.heard(model)
        tokenizer, rows = self._tokenizer(model), []
        for path, clip in reading.readable(
            lambda path: sound_files.read(path, heard.sample_rate, heard.trims), paths, skip_bad
        ):
            (row,) = self._rows(model, prepare_inputs(model, [clip.samples]), tokenizer)
            rows.append({"file": str(path), **row, **({"sound": list(clip.changes)} if clip.changes else {})})
        return rows

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        from kzoo.tasks import reading

        x, y, _ = reading.first_batch(data, split, limit)
        tokenizer = data.tokenizer or self._tokenizer(model)
        rows = self._rows(model, x, tokenizer)
        return [
            {"example": index, "target": target, **row}
            for index, (target, row) in enumerate(zip(tokenizer.decode(y), rows, strict=True))
        ]

    def line(self, row) -> str:
        where = row.get("file", row.get("example"))
        told = f" (sound {', '.join(row['sound'])})" if row.get("sound") else ""
        return f"{where}: {row['text']}{told}" + (f"  ({row['target']})" if "target" in row else "")

    def decide(self, results) -> None:
        raise ValueError("data: transcripts are compared by kzoo.evaluate; leave it out")

    def score(self, model, data, split, numbers) -> dict:
        """Word and character error rates over the whole split."""
        from kzoo.tasks.inference import choose_split
        from kzoo.tasks.speech_recognition import transcribed

        return transcribed.score(self, model, data, choose_split(data, split))

    def bare_output(self, model) -> tuple:
        return "logits", "logits of the labels of every frame, the blank first (CTC); padding is all blank"

    def endpoints(self, model) -> dict:
        from kzoo.tasks.speech_recognition import serving_transcripts

        return serving_transcripts.endpoints(model)


TASK = SpeechRecognition()
