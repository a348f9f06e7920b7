"""Chinese text in figures: a font that comes with the examples, so that it looks the same on every machine."""

from functools import cache
from pathlib import Path

from matplotlib import font_manager

CHINESE = Path(__file__).with_name("NotoSansSC-subset.otf")  # characters of GB 2312; see NotoSansSC-LICENSE.txt


@cache
def families() -> tuple[str, ...]:
    """Return the font families: matplotlib's default, then the Chinese one."""
    font_manager.fontManager.addfont(CHINESE)
    return ("DejaVu Sans", font_manager.FontProperties(fname=CHINESE).get_name())
