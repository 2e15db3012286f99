"""How a row of a benchmark says that it failed; imports nothing, since rivals' processes use it too."""


def in_one_line(error):
    """An exception's class and words in one line, shortened."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
