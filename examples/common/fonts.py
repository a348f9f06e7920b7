"""Chinese text in figures: an installed font that supports it, else code points instead of empty boxes."""

import contextlib
import logging
from functools import cache

from matplotlib import font_manager

CHINESE = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "AR PL UMing CN", "PingFang SC", "Heiti SC",
    "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "SimSun", "Arial Unicode MS",
)  # fmt: skip


logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it warns about fonts with a single weight


@cache
def families() -> tuple[str, ...]:
    """Return the font families: matplotlib's default, then the first installed Chinese one."""
    found = _chinese()
    if not found:
        _add_new_fonts()
        found = _chinese()
    return ("DejaVu Sans", *found[:1])


def _chinese() -> list[str]:
    listed = {entry.name for entry in font_manager.fontManager.ttflist}
    return [name for name in CHINESE if name in listed]


def _add_new_fonts() -> None:
    """Add fonts that were installed after matplotlib cached its list of fonts."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - known:
        with contextlib.suppress(RuntimeError, OSError):  # not a usable font
            font_manager.fontManager.addfont(path)


def legible(text: str) -> str:
    """Return `text` with every character that no font has replaced by its code point, such as U+5206."""
    known = _characters()
    spelled = (character if ord(character) in known else f" U+{ord(character):04X} " for character in text)
    return "".join(spelled).replace("  ", " ").strip()


@cache
def _characters() -> frozenset[int]:
    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in families()]
    return frozenset().union(*[font.get_charmap() for font in fonts])
