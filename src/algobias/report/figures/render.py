"""From specs to pixels: static SVG, and the JavaScript bundle of interactive figures."""

from __future__ import annotations

from functools import cache

import vl_convert as vlc

from algobias.report.figures.base import Spec
from algobias.report.theme import SURFACE, Scheme, vega_config


def svg(spec: Spec, scheme: Scheme = "light") -> str:
    """Static SVG of a spec, with the background of the scheme. Cost: tens of milliseconds."""
    config = {**vega_config(scheme), "background": SURFACE[scheme]["background"]}
    return str(vlc.vegalite_to_svg(spec, config=config, allowed_base_urls=[]))


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script (0.9 MB), safe inside a ``<script>`` element.

    Built once per process. Cost: about 2 s.
    """
    text = str(vlc.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
