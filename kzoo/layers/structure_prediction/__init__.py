"""Layers of networks that predict structures of proteins, after AlphaFold 2; `keras.ops` only.

Jumper et al. 2021, https://doi.org/10.1038/s41586-021-03819-2; algorithms are those of its supplement. Everything is
batch first, and the numbers of residues, sequences and templates are open. Weights are named as DeepMind's modules are.
"""
