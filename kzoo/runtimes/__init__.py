"""Running models fast: the same inputs and outputs through the runtime and the precision that one asks for."""

from kzoo.runtimes.fast_path import fast as fast
