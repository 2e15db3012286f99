"""What a model costs, computed from its graph without allocating weights.

Conventions, for one example (a batch of 1) in inference:

- *MACs* are multiply-accumulates of matrix products, convolutions and attention. Biases, normalization, activations,
  pooling, look-ups and rearrangement count as none, as is usual; "FLOPs" that count a MAC as 2 are twice as many.
- *Activation bytes* are the bytes of all calls' outputs, which training keeps for the gradient.
- *Activation peak* is the most bytes alive at once when the graph runs in order: the model's inputs, every output until
  its last use, and the model's outputs to the end. A call makes its outputs before its inputs are released; reshapes,
  dropout and identities share their input's memory; a dot-product attention also holds its scores in float32 while it
  runs. Weights and other working memory inside a call are left out.
- *Cache bytes* are what generation keeps between tokens (`kzoo.generation`): keys and values of causal self-attention
  for every token written, recurrent states, queues of causal convolutions, and what the encoder hands to the decoder
  for every token of the source.
"""

from kzoo.measure.counting import DEFAULT_LENGTH, measure, usual_length, without_weights

__all__ = ["DEFAULT_LENGTH", "measure", "usual_length", "without_weights"]
