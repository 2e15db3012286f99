"""Variables that wait for their first value, so that no random number is drawn only for a weight file to replace it.

Half of the time that a large model takes to build goes into drawing random numbers, and another part into assigning
every variable twice. Keras assigns no value to a variable that is made inside a `keras.StatelessScope`: it asks the
initializers when a later scope ends, and by then they know what the file holds.
"""

import functools

import keras
import numpy as np

INITIALIZERS = ("glorot_uniform", "he_normal", "lecun_uniform", "orthogonal", "uniform", "zeros", "ones")
INITIALIZERS += ("RandomNormal", "RandomUniform", "TruncatedNormal", "lecun_normal")

ALIGNMENT = 64  # bytes; of all of TensorFlow's own memory


class BlankVariables:
    """A context in which variables are made without values; they have those of `assign`, or else zeros, at its end.

    An initializer that is not among INITIALIZERS works as usual. `restore` gives the layers those they were built with.
    """

    def __init__(self):
        self.made = []  # every blank initializer, in the order of making
        self.asked = None, None  # the one that was called last, and for which shape
        self.late = []  # variables of other initializers, with their values
        # While they wait, variables of one shape share their zeros.
        self.zeros = functools.cache(keras.ops.zeros)

    def __enter__(self):
        self.waited = len(_waiting())
        kinds = {}
        for name in INITIALIZERS:
            kind = type(keras.initializers.get(name))
            blank = type(kind.__name__, (_Blank, kind), {"scope": self})
            kinds |= {name: blank, blank.__name__: blank}  # the latter in configs, where a model copies layers
        self.names = keras.saving.custom_object_scope(kinds)
        self.values = keras.StatelessScope(initialize_variables=False)
        self.names.__enter__()
        self.values.__enter__()
        return self

    def __exit__(self, *error):
        self.values.__exit__(*error)
        self.names.__exit__(*error)
        try:
            if error[0] is None:
                with keras.StatelessScope():  # at whose end the variables are given their values
                    pass
        finally:
            del _waiting()[self.waited :]
        for initializer in self.made:
            initializer.value = None
        for variable, value in self.late:
            variable.assign(value)

    def assign(self, variable, value) -> None:
        """Gives a variable its first value, an array of its shape and dtype."""
        self.asked = None, None
        _ = variable.value  # which asks the initializer for a stand-in
        initializer, shape = self.asked
        if shape == tuple(variable.shape):
            initializer.value = value
        else:  # another kind, or one that puts several together, as an LSTM's bias does
            self.late.append((variable, value))

    def restore(self, model) -> None:
        """Replaces the blank initializers of a model's layers by plain ones of the same settings."""
        owners, seen = list(model.layers), set()
        while owners:
            owner = owners.pop()
            seen.add(id(owner))
            for name, value in list(vars(owner).items()):
                if isinstance(value, _Blank):
                    setattr(owner, name, value.plain())
                elif isinstance(value, keras.Layer) and id(value) not in seen:  # such as a recurrent layer's cell
                    owners.append(value)


def _waiting() -> list:
    """The variables that wait for values: Keras keeps them, and asks them at the end of every later scope."""
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("uninitialized_variables") or []


class _Blank:
    """Mixed into a class of initializers, whose instances then give what `assign` brought, or zeros."""

    scope = value = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.scope.made.append(self)

    def __call__(self, shape, dtype=None, **kwargs):
        if self.value is not None:
            return _tensor(self.value)
        self.scope.asked = self, tuple(shape)
        return self.scope.zeros(tuple(shape), dtype)

    def plain(self) -> keras.initializers.Initializer:
        """An initializer of the class that this was mixed into, with the same seed."""
        plain = object.__new__(type(self).__bases__[1])
        vars(plain).update({name: setting for name, setting in vars(self).items() if name != "value"})
        return plain


def _tensor(array):
    """An array as a tensor with memory of its own, copied once.

    TensorFlow copies a strided array twice, and slowly. It transposes faster itself, given the array as it lies in
    memory, at an address that its kernels take.
    """
    if keras.backend.backend() != "tensorflow" or array.dtype not in (np.float32, np.float16):
        return keras.ops.convert_to_tensor(array)
    import tensorflow as tf

    order = np.argsort([-stride for stride in array.strides], kind="stable")
    stored = array.transpose(order)
    if not stored.flags.c_contiguous or not stored.flags.writeable or not stored.size:
        return tf.convert_to_tensor(array)
    aligned = stored if stored.ctypes.data % ALIGNMENT == 0 else _aligned_copy(stored)
    tensor = tf.experimental.dlpack.from_dlpack(aligned.__dlpack__())
    if np.any(np.diff(order) < 0):
        return tf.transpose(tensor, np.argsort(order))
    return tf.raw_ops.DeepCopy(x=tensor) if aligned is stored else tensor


def _aligned_copy(array):
    space = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    begin = -space.ctypes.data % ALIGNMENT
    copy = space[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
