"""Running models fast: the same inputs and outputs in the runtime and the precision that one asks for."""

from kzoo.runtimes.fast_path import fast as fast
