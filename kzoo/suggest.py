"""What to say when a name is not known."""

import difflib


def did_you_mean(kind, got, choices):
    """One sentence for an unknown name: what was passed and the nearest known names, or all of them if none is near."""
    choices = [str(choice) for choice in choices]
    near = difflib.get_close_matches(str(got), choices, n=3, cutoff=0.4)
    if near:
        return f"unknown {kind} {got!r}; did you mean {', '.join(near)}?"
    return f"unknown {kind} {got!r}; known: {', '.join(choices) or 'none'}"
