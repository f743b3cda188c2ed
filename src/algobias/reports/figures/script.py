"""The JavaScript of interactive figures: built once per machine, then read from the user's cache folder."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import platformdirs
import vl_convert

from algobias.whole_files import PRIVATE_FOLDER, replace_file


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script (0.9 MB), safe inside a ``<script>`` element.

    Cost: about 2 s to build it; kept for each version of vl-convert where the cache folder can be written to.
    """
    folder = Path(platformdirs.user_cache_dir("algobias"))
    kept = folder / f"figures-{version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        mark, _, text = kept.read_bytes().decode().partition("\n")
        if mark == _mark(text):
            return text
    text = _built()
    with suppress(OSError):
        folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        replace_file(kept, f"{_mark(text)}\n{text}".encode())
    return text


def _built() -> str:
    text = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _mark(text: str) -> str:
    """The first line of the kept file, by which one that is cut or changed is not used."""
    return f"// sha256 {hashlib.sha256(text.encode()).hexdigest()}"
