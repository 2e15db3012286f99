"""Proteins from files: sequences, alignments and structures, and the features that a network reads of them."""
