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
    plain = {_plain(choice): str(choice) for choice in reversed([*choices])}
    wanted = _plain(got)
    close = difflib.get_close_matches(wanted, plain, n=3, cutoff=0.65)
    containing = [choice for choice in reversed(plain) if wanted in choice] if len(wanted) > 2 else []
    return [plain[choice] for choice in close or containing[:3]]


def _plain(name):
    return str(name).lower().replace("-", "_")
