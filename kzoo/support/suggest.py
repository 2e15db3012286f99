"""What to say about an unknown name."""

import difflib


def did_you_mean(kind, got, choices) -> str:
    """One sentence for an unknown name: what was passed and the three nearest of the known names."""
    near = difflib.get_close_matches(str(got), [str(choice) for choice in choices], n=3, cutoff=0.0)
    return f"unknown {kind} {got!r}; did you mean {' or '.join(near)}?" if near else f"unknown {kind} {got!r}"
