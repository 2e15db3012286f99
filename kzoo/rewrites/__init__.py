"""Rewrites of flat graphs: the same model, smaller, cheaper or with other weights to train."""
