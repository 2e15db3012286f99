"""A run folder, a saved folder and an export as kzoo wrote them before its rooms were remade.

They were made with the commit "Last reading: one door to how training steps run", from whose checkout this was run:

    python before_rooms.py tests/golden/before_rooms
"""

import contextlib
import json
import pathlib
import sys

import keras
import numpy as np

import kzoo
import kzoo.data


class Stop(keras.callbacks.Callback):
    """Stops a run as a kill would."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("stopped")


folder = pathlib.Path(sys.argv[1])
keras.utils.set_random_seed(0)
model = kzoo.build("perceptron")
data = kzoo.data.load("digits/zero_one", model, batch_size=64, augment=False)
with contextlib.suppress(RuntimeError):
    kzoo.fit(model, data, folder / "run", epochs=3, progress=False, callbacks=[Stop()], tensorboard=False)

writer = kzoo.build("gpt2", num_layers=1, hidden_dim=8, num_heads=2, vocabulary_size=32, max_length=32)
text = folder / "text.txt"
text.write_text("the cat sat on the mat. " * 30)
data = kzoo.data.load(str(text), writer, tokenizer="characters", max_length=8, batch_size=4)
kzoo.fit(writer, data, None, epochs=1, warmup_steps=1, progress=False)
text.unlink()
kzoo.save(writer, folder / "saved")
logits = writer({"token_ids": np.array([[5, 6, 7]]), "padding_mask": np.ones((1, 3), int)})

reader = kzoo.build("rnn", units=4, num_features=3)
kzoo.export(reader, folder / "exported")
x = np.arange(2 * 5 * 3, dtype="float32").reshape(2, 5, 3) / 30
facts = {
    "written": kzoo.generate(writer, "the cat", max_new_tokens=8).text,
    "class_names": ["0", "1"],
    "logits": keras.ops.convert_to_numpy(logits).tolist(),
    "exported_input": x.tolist(),
    "exported_output": np.asarray(reader(x)).tolist(),
}
(folder / "facts.json").write_text(json.dumps(facts) + "\n")
