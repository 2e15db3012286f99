"""What to say about an unknown name."""

import difflib

FEW = 12  # choices that are listed where none is near


def did_you_mean(kind, got, choices) -> str:
    """One sentence for an unknown name: what was passed and the nearest of the known names, or the few there are."""
    found = nearest(got, choices)
    if found:
        return f"unknown {kind} {got!r}; did you mean {' or '.join(found)}?"
    choices = [str(choice) for choice in choices]
    return f"unknown {kind} {got!r}" + (f"; wanted {', '.join(choices)}." if 0 < len(choices) <= FEW else "")


def near(got, choices) -> str:
    """The end of a sentence about a name that is not among the choices: those that are near it, if any."""
    found = nearest(got, choices)
    return f"; near: {', '.join(found)}" if found else ""


def nearest(got, choices) -> list:
    """At most three choices that someone who wrote `got` may have meant, none if none is really near."""
    choices = [str(choice) for choice in choices]
    return difflib.get_close_matches(str(got), choices, n=3, cutoff=0.6)
