"""A flat model as a decoder: what depends on no generated token runs once, the rest runs on new tokens with a memory.

The recorded graph is cut in two. The first part, an encoder with the keys and values that it gives to the decoder, runs
once for a prompt. The second runs on one new token after another (or a whole prompt), and every layer continues from
what it remembers, as `kzoo.generation.memories` says.
"""

import keras
from keras import ops

from kzoo import graph
from kzoo.catalog import card_of, literals_of
from kzoo.generation.memories import POSITIONS, Now, memory_of

# Names of the input that generated tokens are appended to, in a model of one's own, which has no model file.
TOKENS = ("decoder_token_ids", "token_ids")


def writes_tokens(model) -> bool:
    """Whether a model gives logits of next tokens, so that `Decoder` takes it.

    A model of the catalogue says so in its file (`WRITES`). Any other does if it has an int input with one of the names
    in `TOKENS`, one output as wide as the table of vectors that this input is looked up in, and no layer that sees
    later tokens.
    """
    if card_of(model).architecture:
        return "WRITES" in literals_of(model)
    try:
        Decoder(model)
    except ValueError:
        return False
    return True


class Decoder:
    """The two parts of an autoregressive model.

    Args:
        model: from token ids (batch, length), possibly with other inputs, to logits (batch, length, vocabulary_size)
            that see no later token.

    Raises ValueError for a model that gives no logits of next tokens; it names a layer that sees later ones.
    """

    def __init__(self, model):
        self.token_name = _token_name(model)
        inputs, steps, self.logits = graph.record(model)
        self.inputs = inputs = {tensor.name: tensor for tensor in keras.tree.flatten(inputs)}
        self.vocabulary_size = model.outputs[0].shape[-1]
        self.is_encoder_decoder = "encoder_token_ids" in inputs
        # In a decoder alone, the mask says which of the tokens themselves are real.
        self.own_mask = None if self.is_encoder_decoder else inputs.get("padding_mask")
        self.source_vocabulary_size = self.vocabulary_size
        for step in steps:
            if any(tensor is inputs.get("encoder_token_ids") for tensor in step.inputs):
                self.source_vocabulary_size = getattr(step.layer, "input_dim", self.vocabulary_size)
        later, self.once, self.steps = {id(inputs[self.token_name]), id(self.own_mask)}, [], []
        for step in steps:
            if any(id(tensor) in later for tensor in step.inputs):
                later.update(id(tensor) for tensor in keras.tree.flatten(step.outputs))
                self.steps.append(step)
            else:
                self.once.append(step)
        try:
            self.memories = {id(step): memory_of(step, later) for step in self.steps}
        except ValueError as error:
            raise ValueError(f"{model.name} writes no tokens one after another: {error}") from error
        # Tensors of the first part that the second reads.
        needed = {id(tensor): tensor for step in self.steps for tensor in step.inputs if id(tensor) not in later}
        self.context = list(needed.values())
        self.max_length = graph.longest_sequence(model)
        self.head = self._head()

    def read(self, sources) -> list:
        """Runs the first part, which gives the `context` of `step`: a list of tensors (batch, ...).

        Args:
            sources: dict of arrays for the inputs other than the tokens.
        """
        values = {id(self.inputs[name]): ops.convert_to_tensor(x) for name, x in sources.items()}
        graph.replay(self.once, values)
        return [values[id(tensor)] for tensor in self.context]

    @staticmethod
    def variables(steps) -> list:
        """The variables of the steps' layers, each once; an operation of keras.ops has none."""
        every = (variable for step in steps for variable in getattr(step.layer, "variables", ()))
        return list({id(variable): variable for variable in every}.values())

    def remembering(self, length) -> list:
        """The steps that remember, each with what it keeps of one sequence: [(step, [(shape, grows), ...]), ...]."""
        kept = ((step, self.memories[id(step)].kept(step, length)) for step in self.steps)
        return [(step, rows) for step, rows in kept if rows]

    def empty_caches(self, batch_size, length, context) -> list:
        """Memories for `batch_size` sequences of at most `length` tokens: one structure a step that remembers."""
        values, rows = self._values(context), self.remembering(length)
        return [self.memories[id(step)].first(step, kept, batch_size, values) for step, kept in rows]

    def _values(self, context):
        """The context by the ids of its symbolic tensors."""
        return {id(symbol): value for symbol, value in zip(self.context, context, strict=True)}

    def cache_shapes(self, length) -> dict:
        """What is kept for one sequence of `length` tokens, {layer name: [(shape, dtype, grows), ...]}.

        `grows` is whether it holds something for every token written. What the first part gives, after a source of
        `length` tokens, is listed under the layer that reads it first.
        """
        found, waiting = {}, {id(tensor) for tensor in self.context}
        for step in self.steps:
            kept = self.memories[id(step)].kept(step, length)
            kept = [(shape, step.layer.compute_dtype, grows) for shape, grows in kept]
            for tensor in step.inputs:
                if id(tensor) in waiting:
                    waiting.remove(id(tensor))
                    shape = tuple(length if size is None else size for size in tensor.shape[1:])
                    kept.append((shape, tensor.dtype, False))
            if kept:
                found.setdefault(step.layer.name, []).extend(kept)
        return found

    def step(self, tokens, position, num_pads, context, caches, attend=None) -> tuple:
        """Logits (batch, vocabulary_size) in float32 after the last of new tokens, and the caches that hold them all.

        Args:
            tokens: (batch, length) int32.
            position: int scalar, the place of the first of them in the cache.
            num_pads: (batch,) int32, how many places at the beginning are padding.
            context: what `read` gave.
            caches: those of `empty_caches` or an earlier step.
            attend: stands in for attention over caches of this kind, and takes the arguments of `Memory.go_on`.
        """
        places = position + ops.arange(ops.shape(tokens)[1], dtype="int32")
        now = Now(places, num_pads, tuple(tokens.shape) == (1, 1), tokens.shape[1] == 1)
        values = self._values(context) | {id(self.inputs[self.token_name]): tokens}
        if self.own_mask is not None:
            values[id(self.own_mask)] = ops.cast(now.real, "int32")
        remaining, after = list(caches), []

        def call(step, args, kwargs):
            if step is self.head:
                # Nobody reads the logits of a prompt's other places, which are the largest product of the whole prompt.
                args = (args[0][:, -1:], *args[1:])
            memory = self.memories[id(step)]
            if not memory.kept(step, 1):
                return memory.go_on(step.layer, args, kwargs, [], now)[0]
            outputs, cache = (attend or memory.go_on)(step.layer, args, kwargs, remaining.pop(0), now)
            after.append(cache)
            return outputs

        graph.replay(self.steps, values, call)
        return values[id(self.logits)][:, -1], after

    def _head(self):
        """The step that begins the chain to the logits in which every place depends on itself alone, or None."""
        head, wanted = None, self.logits
        for step in reversed(self.steps):
            memory = self.memories[id(step)]
            is_pointwise = len(step.inputs) == 1 and memory is not POSITIONS and not memory.kept(step, 1)
            if step.outputs is not wanted or not is_pointwise:
                break
            head, wanted = step, step.inputs[0]
        return head


def _token_name(model):
    """The name of the input that generated tokens are appended to; ValueError for a model that writes none."""
    if card_of(model).architecture:
        name = literals_of(model).get("WRITES")
        reason = f"is for {card_of(model).task or 'an unknown task'}"
    else:
        # A Sequential model, for example, is not a graph that can be cut in two.
        kinds = {tensor.name: tensor.dtype for tensor in (model.inputs if hasattr(model, "operations") else ())}
        name = next((name for name in TOKENS if "int" in kinds.get(name, "")), None)
        reason = f"has no int input called {' or '.join(TOKENS)}"
        if name and not _gives_logits(model, name):
            name, reason = None, f"has no single output (batch, length, as many as the tokens that {name} may be)"
    if name is None:
        fix = "generate takes translation and language models"
        raise ValueError(f"{model.name} {reason} and writes no tokens one after another; {fix}")
    return name


def _gives_logits(model, name):
    """Whether the only output is (batch, length, size) with the size of a table that the input is looked up in."""
    reading = [call.operation for call in graph.calls(model) if any(tensor.name == name for tensor in call.inputs)]
    sizes = {operation.input_dim for operation in reading if hasattr(operation, "input_dim")}
    return len(model.outputs) == 1 and len(model.outputs[0].shape) == 3 and model.outputs[0].shape[-1] in sizes
