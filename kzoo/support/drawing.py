"""Pictures with words in them: every text as it is written, in a font that has its letters."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from kzoo.support import atomic

# Fonts with the letters that matplotlib's own lacks; the first that is installed helps out
FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS", "Unifont",
)  # fmt: skip


@contextlib.contextmanager
def picture(path, size, dpi=100) -> Iterator:
    """Yields a matplotlib `Figure` of `size` (width, height) inches, which is written to `path` as a PNG at the end.

    `$` in a text is a dollar, not the beginning of a formula.
    """
    import matplotlib
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    installed = {font.name for font in font_manager.fontManager.ttflist}
    families = ["DejaVu Sans", *[name for name in FONTS if name in installed][:1]]
    with matplotlib.rc_context({"text.parse_math": False, "font.family": families}):
        figure = Figure(size, layout="constrained", dpi=dpi)
        yield figure
        with atomic.file(path) as temporary, warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            figure.savefig(temporary, format="png", dpi=dpi)
    if any("missing from font" in str(one.message) for one in found):
        logging.getLogger("kzoo").warning(
            "%s: no installed font has all its letters, and boxes stand for some; Noto Sans CJK has them", path
        )
