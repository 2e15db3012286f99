"""Makes DeepMind's `alphafold` 2.0.0 run on today's NumPy and JAX; import it before anything of that package.

python -m venv venv; venv/bin/pip install jax dm-haiku ml_collections dm-tree biopython immutabledict
venv/bin/pip install --no-deps alphafold==2.0.0
"""

import collections
import functools
import sys
import types

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

collections.Iterable = collections.abc.Iterable
np.int, np.float, np.object, np.bool = int, float, object, bool
_names = ("NUM_RES", "NUM_MSA_SEQ", "NUM_EXTRA_SEQ", "NUM_TEMPLATES")
_tf = types.ModuleType("alphafold.model.tf")
_placeholders = types.ModuleType("alphafold.model.tf.shape_placeholders")
for _name in _names:
    setattr(_placeholders, _name, f"{_name.lower()} placeholder")
_tf.shape_placeholders = _placeholders
sys.modules |= {"alphafold.model.tf": _tf, "alphafold.model.tf.shape_placeholders": _placeholders}
for _name in ("map", "flatten", "unflatten", "leaves", "structure", "multimap"):
    _there = getattr(jax.tree_util, f"tree_{_name}", jax.tree_util.tree_map)
    setattr(jax, f"tree_{_name}", _there)
_clip = jnp.clip
jnp.clip = lambda x, a_min=None, a_max=None, **kwargs: _clip(x, kwargs.get("min", a_min), kwargs.get("max", a_max))
jax.ops.index_add = lambda x, index, y: x.at[index].add(y)
hk.vmap.require_split_rng = False
if not hasattr(jax, "util"):
    jax.util = types.ModuleType("jax.util")
    sys.modules["jax.util"] = jax.util
if not hasattr(jax.util, "wraps"):
    jax.util.wraps = lambda wrapped, **_: functools.wraps(wrapped)
