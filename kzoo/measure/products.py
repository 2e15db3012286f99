"""Multiply-accumulates of one call: a rule for every layer and operation that multiplies matrices.

A rule takes the layer, its arguments by name and its output, whose shapes have a batch of 1, and returns a count, or
None where it cannot tell.
"""

import inspect
import math
import re

import keras


def size(x) -> int:
    """How many numbers an array or symbolic tensor has."""
    return math.prod(x.shape)


def _dense(layer, given, output):
    return size(output) * given["inputs"].shape[-1]


def _low_rank(layer, given, output):
    """The frozen matrix and, beside it, two narrow ones."""
    positions = size(output) // output.shape[-1]
    return _dense(layer, given, output) + positions * layer.rank * (given["inputs"].shape[-1] + layer.units)


def _einsum(equation, *operands):
    """With two operands, every combination of their indices is one product. With more the order decides, so None."""
    if len(operands) != 2 or "->" not in equation:
        return None
    sizes = {}
    for labels, operand in zip(equation.replace(" ", "").partition("->")[0].split(","), operands, strict=True):
        before, dots, after = labels.partition("...")
        shape = list(operand.shape)
        hidden = range(len(shape) - len(before) - len(after)) if dots else ()
        # Dimensions under an ellipsis line up from the right, and those of size 1 stretch.
        names = [*before, *(f"...{len(hidden) - place}" for place in hidden), *after]
        for name, length in zip(names, shape, strict=True):
            sizes[name] = max(sizes.get(name, 1), length)
    return math.prod(sizes.values())


def _einsum_dense(layer, given, output):
    return _einsum(layer.equation, given["inputs"], layer.kernel)


def _shape(name, one, given):
    """The shape of a layer's weight, or of an operation's argument of that name."""
    return (given[name] if name in given else getattr(one, name)).shape


def _conv(one, given, output):
    return size(output) * math.prod(_shape("kernel", one, given)[:-1])


def _depthwise(one, given, output):
    return size(output) * math.prod(_shape("kernel", one, given)[:-2])


def _separable(one, given, output):
    *kernel_size, channels, multiplier = _shape("depthwise_kernel", one, given)
    filters = _shape("pointwise_kernel", one, given)[-1]
    return size(output) // filters * channels * multiplier * (math.prod(kernel_size) + filters)


def _conv_transpose(one, given, output):
    """Every input value meets every place of the kernel, for every filter."""
    return size(given["inputs"]) * math.prod(_shape("kernel", one, given)[:-1])


def _cell(cell):
    """Products of one step of a recurrent cell: with its input and with its state."""
    cells = getattr(cell, "cells", [cell])
    if any(type(one).__name__ not in ("LSTMCell", "GRUCell", "SimpleRNNCell") for one in cells):
        return None
    return sum(size(one.kernel) + size(one.recurrent_kernel) for one in cells)


def _recurrent(layer, given, output):
    step = _cell(layer.cell)
    return None if step is None else given["sequences"].shape[1] * step


def _recurrence(layer, given, output):
    """Every step of every direction: the product with its input and that with its state."""
    kernels = [one for cell in (layer, layer.loop.cell) for one in cell.weights if "kernel" in one.name]
    return given["inputs"].shape[1] * sum(map(size, {id(one): one for one in kernels}.values()))


def _conv_recurrent(layer, given, output):
    """A convolution of the input and one of the state for every gate and step."""
    sequence, cell = given["sequences"], layer.cell
    places = size(output) // cell.filters // (sequence.shape[1] if layer.return_sequences else 1)
    return sequence.shape[1] * places * (size(cell.kernel) + size(cell.recurrent_kernel))


def _bidirectional(layer, given, output):
    both = layer.forward_layer, layer.backward_layer
    counts = [count(one, {"sequences": given["sequences"]}, output) for one in both]
    return None if None in counts else sum(counts)


def _time_distributed(layer, given, output):
    """The inner layer, once for every step."""
    x, y = (keras.KerasTensor((1, *tensor.shape[2:]), tensor.dtype) for tensor in (given["inputs"], output))
    once = count(layer.layer, arguments(layer.layer, (x,), {}), y)
    return None if once is None else given["inputs"].shape[1] * once


def _reversible_embedding(layer, given, output):
    """A look-up multiplies nothing; in reverse, a tied embedding is a matrix product."""
    return size(output) * layer.output_dim if given.get("reverse") else 0


def _attend(query, value):
    """Scores and weighted sum: two products over every pair of a query's and a value's place."""
    return size(query) // query.shape[-1] * value.shape[-2] * (query.shape[-1] + value.shape[-1])


def _dot_product_attention(layer, given, output):
    return _attend(given["query"], given["value"])


def _attention(layer, given, output):
    return _attend(*given["inputs"][:2])


def _projected_attention(given, output, num_heads, num_key_heads, key_dim, value_dim):
    """Four projections around the attention of all heads."""
    query, value = given["query"], given["value"]
    key = value if given.get("key") is None else given["key"]
    rows, columns = size(query) // query.shape[-1], size(value) // value.shape[-1]
    inputs = size(query) * num_heads * key_dim + num_key_heads * (size(key) * key_dim + size(value) * value_dim)
    outputs = rows * num_heads * value_dim * output.shape[-1]
    return inputs + rows * columns * num_heads * (key_dim + value_dim) + outputs


def _multi_head(layer, given, output):
    if len(given["query"].shape) != 3:  # attention over several axes at once
        return None
    return _projected_attention(given, output, layer.num_heads, layer.num_heads, layer.key_dim, layer.value_dim)


def _grouped_query(layer, given, output):
    heads = layer.num_query_heads, layer.num_key_value_heads
    return _projected_attention(given, output, *heads, layer.head_dim, layer.head_dim)


def _dot_layer(layer, given, output):
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    return size(output) * given["inputs"][0].shape[axis]


def _spectrum(layer, given, output):
    """Every frame meets the transform, and then the filters and cosines if there are any."""
    tables = [getattr(layer, name, None) for name in ("basis", "filters", "cosines")]
    return size(output) // output.shape[-1] * sum(table.size for table in tables if table is not None)


def _codebook(layer, given, output):
    """Every vector meets every code."""
    return size(output) * layer.num_codes


def _matmul(operation, given, output):
    return size(output) * given["x1"].shape[-1] if given["x1"].shape and given["x2"].shape else 0


def _tensordot(operation, given, output):
    axes, shape = operation.axes, given["x1"].shape
    places = range(len(shape) - axes, len(shape)) if isinstance(axes, int) else keras.tree.flatten(axes[0])
    return size(output) * math.prod(shape[place] for place in places)


def _elementwise_product(operation, given, output):
    return size(given["x1"]) if not output.shape else size(output)


def _attention_operation(operation, given, output):
    query, key, value = (given[name] for name in ("query", "key", "value"))  # (batch, length, num_heads, head_dim)
    return size(query) * key.shape[1] + size(output) * value.shape[1]


def _axial_attention(layer, given, output):
    """Five projections, scores and sums within each line, and what a pair adds to the logits of each head."""
    x, pair = given["x"], given.get("pair", given["x"] if "Triangle" in type(layer).__name__ else None)
    bias = 0 if pair is None else size(pair) * layer.num_heads
    return size(x) * (5 * x.shape[-1] + 2 * x.shape[layer.axis]) + bias


def _global_attention(layer, given, output):
    """One query for each residue; keys and values of one head's width."""
    x, width = given["x"], given["x"].shape[-1]
    query = size(x) // x.shape[1]
    return query * width + size(x) * 2 * (width // layer.num_heads + width + 1)


def _transition(layer, given, output):
    return size(output) * 2 * layer.factor * output.shape[-1]


def _outer_product(layer, given, output):
    """Two projections, then sums of products, which are mapped before they are added up or after, as is cheaper."""
    x, outer, places = given["x"], layer.outer_dim, size(output) // output.shape[-1]
    before = size(x) // x.shape[-1] * outer**2 * layer.pair_dim + size(output) * x.shape[1] * outer
    after = places * outer**2 * (x.shape[1] + layer.pair_dim)
    few = x.shape[1] * layer.pair_dim < outer * (layer.pair_dim - x.shape[1])
    return size(x) * 2 * outer + (before if few else after)


def _triangle_multiplication(layer, given, output):
    """Six maps, and for each pair a sum over all third residues."""
    return size(output) * (6 * output.shape[-1] + output.shape[1])


def _template_attention(layer, given, output):
    width = given["templates"].shape[-1]
    return size(output) * 2 * width + size(given["templates"]) * (2 * width + 2)


def _point_attention(layer, given, output):
    """Projections, then for each head and pair of residues scores, sums of scalars and points, and sums of pairs."""
    length, pair_dim = output.shape[1], given["pair"].shape[-1]
    maps = sum(size(weight) for weight in layer.weights if len(weight.shape) == 2)
    scores = 2 * layer.scalar_dim + 3 * (layer.num_query_points + layer.num_value_points) + 2 + pair_dim
    return length * maps + length**2 * layer.num_heads * scores


# What `kind_of` gives -> rule
RULES = {
    ("layer", "Dense"): _dense,
    ("layer", "EinsumDense"): _einsum_dense,
    ("layer", "Conv"): _conv,
    ("layer", "DepthwiseConv"): _depthwise,
    ("layer", "SeparableConv"): _separable,
    ("layer", "ConvTranspose"): _conv_transpose,
    **{("layer", name): _recurrent for name in ("LSTM", "GRU", "SimpleRNN", "RNN")},
    ("layer", "ConvLSTM"): _conv_recurrent,
    ("layer", "Bidirectional"): _bidirectional,
    ("layer", "TimeDistributed"): _time_distributed,
    ("layer", "ReversibleEmbedding"): _reversible_embedding,
    ("layer", "Attention"): _attention,
    ("layer", "AdditiveAttention"): _attention,
    ("layer", "MultiHeadAttention"): _multi_head,
    ("layer", "GroupedQueryAttention"): _grouped_query,
    ("layer", "Dot"): _dot_layer,
    ("kzoo", "DotProductAttention"): _dot_product_attention,
    ("kzoo", "LowRankDense"): _low_rank,
    ("kzoo", "Recurrence"): _recurrence,
    ("kzoo", "VectorQuantizer"): _codebook,
    **{
        ("kzoo", f"{name}Attention{end}"): _axial_attention
        for name, end in (("Row", "WithPairBias"), ("Column", ""), ("Triangle", ""))
    },
    ("kzoo", "GlobalColumnAttention"): _global_attention,
    ("kzoo", "Transition"): _transition,
    ("kzoo", "OuterProductMean"): _outer_product,
    ("kzoo", "TriangleMultiplication"): _triangle_multiplication,
    ("kzoo", "TemplatePointwiseAttention"): _template_attention,
    ("kzoo", "InvariantPointAttention"): _point_attention,
    **{("kzoo", name): _spectrum for name in ("LogSpectrogram", "LogMelSpectrogram", "MFCC")},
    ("operation", "Matmul"): _matmul,
    ("operation", "Dot"): _matmul,
    ("operation", "Inner"): _matmul,
    ("operation", "Outer"): _elementwise_product,
    ("operation", "Vdot"): _elementwise_product,
    ("operation", "Tensordot"): _tensordot,
    ("operation", "Einsum"): lambda operation, given, output: _einsum(operation.subscripts, *given["operands"]),
    ("operation", "Conv"): _conv,
    ("operation", "DepthwiseConv"): _depthwise,
    ("operation", "SeparableConv"): _separable,
    ("operation", "ConvTranspose"): _conv_transpose,
    ("operation", "DotProductAttention"): _attention_operation,
}

# Element by element, by look-up, by reduction or by rearrangement: no products of matrices.
FREE = {
    "layer": """
        Activation ActivityRegularization AdaptiveAveragePooling AdaptiveMaxPooling Add AlphaDropout Average
        AveragePooling BatchNormalization CategoryEncoding CenterCrop Concatenate Cropping Discretization Dropout ELU
        Embedding Flatten GaussianDropout GaussianNoise GlobalAveragePooling GlobalMaxPooling GroupNormalization
        Identity InputLayer LayerNormalization LeakyReLU Masking MaxPooling Maximum Minimum Multiply Normalization PReLU
        Permute RMSNormalization RandomCrop RandomFlip ReLU RepeatVector Rescaling Reshape Resizing Softmax
        SpatialDropout Subtract UnitNormalization UpSampling ZeroPadding""",
    "kzoo": """
        AdaptiveAveragePooling AddedToRows Alongside AtomMask AtomPositions Atom37 Bias BlankPadding ClassToken
        ClipLength EachTemplate EndToken ExtraFeatures FirstRow FirstToken FrameContext FrameMask FramesOfPoses
        GroupFrames InitialPoses LearnedPositions LetterOneHot LikeGrid LocalResponseNormalization
        MaskedAveragePooling Maxout MovedPoses MuLawOneHot NearestResize NumWindows OneChannel OuterSum PairMask
        PreviousDistances RelativePlaces RelativePositionBias Reverse ReverseComplement RotaryPositions RowsOf
        SinusoidalPositions SinusoidalTimestep Split StackedAngles StrandMean Symmetric TemplateAngles
        TemplatePairFeatures Temperature UnitVectors Unread""",
    "operation": """
        Abs Absolute Add All Amax Amin Any Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin
        Argsort Array Average AveragePool AdaptiveAveragePool AdaptiveMaxPool BatchNorm BitwiseAnd BitwiseInvert
        BitwiseNot BitwiseOr BitwiseXor BroadcastTo Cast Cbrt Ceil Celu Clip Concatenate Conjugate ConvertToTensor Copy
        Cos Cosh CountNonzero Cumprod Cumsum Deg2rad DepthToSpace Diag Diagonal Diff Digitize Divide DivideNoNan Elu
        EmptyLike Equal Erf Erfc Erfinv Exp Exp2 ExpandDims Expm1 ExtractPatches Flip Fliplr Flipud Floor FloorDivide
        Fmax Fmin Full FullLike Gelu GetItem Glu Greater GreaterEqual HardShrink HardSigmoid HardSilu HardTanh Heaviside
        Hstack Hypot Imag IsIn Isclose Isfinite Isinf Isnan LayerNorm LeakyRelu Less LessEqual Linspace Log Log10 Log1p
        Log2 LogSigmoid LogSoftmax Logaddexp Logaddexp2 LogicalAnd LogicalNot LogicalOr LogicalXor Logsumexp Max MaxPool
        Maximum Mean Median Meshgrid Min Minimum Mod Moments Moveaxis MultiHot Multiply NanToNum Negative Nonzero Norm
        Normalize NotEqual OneHot OnesLike Pad Power Prod Rad2deg RMSNorm Ravel Real Rearrange Reciprocal Relu Relu6
        Repeat Reshape Roll Round Rsqrt SaturateCast Scatter ScatterUpdate SearchSorted Select Selu Sigmoid Sign Signbit
        Silu Sin Sinc Sinh Slice SliceUpdate SoftShrink Softmax Softplus Softsign Sort SpaceToDepth SparseSigmoid
        Sparsemax Split Sqrt Square Squareplus Squeeze Stack Std StopGradient Subtract Sum Swapaxes Take TakeAlongAxis
        Tan TanhShrink Tanh Threshold Tile TopK Trace Transpose Tril Triu TrueDivide Trunc Unstack Var View Vstack Where
        ZerosLike""",
}  # fmt: skip
FREE = {family: frozenset(names.split()) for family, names in FREE.items()}


def arguments(operation, args, kwargs) -> dict:
    """The arguments of a call by the names that the layer's or operation's own `call` gives them."""
    call = inspect.signature(operation.call)
    try:
        return call.bind_partial(*args, **kwargs).arguments
    except TypeError:  # layers take arguments of `__call__` that `call` does not know, such as a mask
        known = {name: value for name, value in kwargs.items() if name in call.parameters}
        return call.bind_partial(*args, **known).arguments


def kind_of(operation) -> tuple:
    """An operation's family and class: "layer" (Keras), "operation" (keras.ops), "kzoo", or None for anything else.

    The class is named without its number of dimensions: "Conv" for Conv2D. A subclass made elsewhere may compute more
    than its parent, so it does not belong to its parent's family.
    """
    package = type(operation).__module__.partition(".")[0]
    family = package if package == "kzoo" else None
    if package == "keras":
        family = "layer" if isinstance(operation, keras.layers.Layer) else "operation"
    return family, re.sub("[123]D", "", type(operation).__name__)


def count(operation, given, output) -> int | None:
    """Multiply-accumulates of a call whose arguments are `given` by name; None where no rule knows."""
    kind = kind_of(operation)
    if kind in RULES:
        return RULES[kind](operation, given, output)
    return 0 if kind[1] in FREE.get(kind[0], ()) else None
