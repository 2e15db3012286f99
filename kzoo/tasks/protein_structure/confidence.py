"""How far a predicted structure is to be trusted, by the network itself: pLDDT, predicted aligned errors, pTM.

Jumper et al. 2021, supplementary sections 1.9.6 and 1.9.7. NumPy, for logits of one chain.
"""

import numpy as np

from kzoo.tasks.protein_structure.head_losses import error_breaks
from kzoo.tasks.protein_structure.similarity import tm_scale


def _shares(logits):
    logits = np.asarray(logits, np.float64)
    found = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return found / found.sum(axis=-1, keepdims=True)


def plddt(logits) -> np.ndarray:
    """The expected lDDT of each residue from 0 to 100, float32 (residues,), of logits (residues, bins)."""
    num_bins = logits.shape[-1]
    middles = (np.arange(num_bins) + 0.5) / num_bins
    return (100 * _shares(logits) @ middles).astype(np.float32)


def error_middles(num_bins) -> np.ndarray:
    """What an error in each bin is taken to be; of the last one, half a bin beyond its beginning."""
    breaks = error_breaks(num_bins)
    step = breaks[1] - breaks[0]
    return np.append(breaks, breaks[-1] + step) + step / 2


def aligned_errors(logits) -> np.ndarray:
    """The expected error in angstroms of residue j in the frame of residue i, float32 (residues, residues)."""
    return (_shares(logits) @ error_middles(logits.shape[-1])).astype(np.float32)


def predicted_tm(logits) -> float:
    """The expected TM-score of logits of aligned errors, in the frame where it is highest."""
    scale = tm_scale(len(logits))
    terms = 1 / (1 + np.square(error_middles(logits.shape[-1]) / scale))
    return float((_shares(logits) @ terms).mean(axis=-1).max())
