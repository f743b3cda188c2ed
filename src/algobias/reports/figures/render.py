"""From specs to pixels: static SVG."""

from __future__ import annotations

import re
from collections.abc import Mapping

import vl_convert as vlc

from algobias.json_values import clean_object
from algobias.reports.figures.theme import STATIC_FONT, SURFACE, Scheme, vega_config

_PATH = re.compile(r' (?:d="|transform="translate\()[^"]*"')
_CLIP = re.compile(r'<clipPath id="([^"]+)">(.*?)</clipPath>')
_CLIP_USE = re.compile(r"url\(#([^)]+)\)")
_ROLE = re.compile(r' role="graphics-[a-z]+" aria-roledescription="[^"]* container"')
_HIDDEN = re.compile(r'<path class="foreground" aria-hidden="true" d="" display="none"/>')
_FRACTION = re.compile(r"(\.\d)\d+")


def svg(spec: Mapping[str, object], scheme: Scheme = "light") -> str:
    """Static SVG of a spec, with the background of the scheme; paths to a tenth of a pixel.

    Cost: tens of milliseconds.
    """
    config = {**vega_config(scheme), "background": SURFACE[scheme]["background"], "font": STATIC_FONT}
    # The renderer measures text as XML and ends the whole process on a character that XML forbids.
    drawn = str(vlc.vegalite_to_svg(clean_object(spec), config=config, allowed_base_urls=[]))
    return slim(drawn)


def slim(drawn: str) -> str:
    """The same picture in about half the bytes.

    Vega writes a clipping path of its own for every line, roles for every group (the root keeps its own,
    with the description), and coordinates to fractions that no screen shows.
    """
    clips: dict[str, str] = dict(_CLIP.findall(drawn))
    first: dict[str, str] = {}
    for name, shape in clips.items():
        first.setdefault(shape, name)
    drawn = _CLIP_USE.sub(lambda use: f"url(#{first.get(clips.get(use[1], ''), use[1])})", drawn)
    drawn = _CLIP.sub(lambda clip: clip[0] if first[clip[2]] == clip[1] else "", drawn)
    drawn = _PATH.sub(lambda path: _FRACTION.sub(r"\1", path[0]), _ROLE.sub("", drawn))
    return _HIDDEN.sub("", drawn)
