"""The report in a real browser: nothing overlaps, is cut, or scrolls sideways, at 390 and 1280 pixels.

The pages lie in frames of exact width, because a headless window has a smallest width of its own. A script
in the outer page measures them and leaves its findings in the document, which the browser prints.
"""

from __future__ import annotations

import html as escaping
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from made_studies import case

from algobias.studies.reports import write

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium to look at the report; none is installed"
)

NAMES = ("moved", "controlled", "controls", "side arm", "decaying", "hostile")
WIDTHS = (390, 1280)

MEASURE = """
const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1.5;
function measure(frame) {
  const page = frame.contentDocument, root = page.documentElement, found = [];
  const say = (text) => found.push(text);
  if (root.scrollWidth > frame.clientWidth) say(`page is ${root.scrollWidth} wide`);
  const figures = [...page.querySelectorAll("[data-figure]")];
  for (const figure of figures) {
    const key = figure.dataset.figure, picture = figure.querySelector(".live svg");
    if (!picture) { say(`${key}: not drawn`); continue; }
    const box = picture.getBoundingClientRect(), place = figure.getBoundingClientRect();
    if (box.width < 200 || box.height < 60 || box.height > 700) say(`${key}: ${box.width} x ${box.height}`);
    if (box.right > place.right + 1 || box.left < place.left - 1) say(`${key}: wider than its box`);
    const texts = [...picture.querySelectorAll("text")]
      .filter((text) => text.textContent.trim() && Number(getComputedStyle(text).opacity) > 0)
      .map((text) => [text.textContent, text.getBoundingClientRect()]).filter(([, one]) => one.width > 0);
    for (const [name, one] of texts) {
      const sideways = one.left < box.left - 1 || one.right > box.right + 1;
      if (sideways || one.top < box.top - 1 || one.bottom > box.bottom + 1) say(`${key}: text cut: ${name}`);
      if (name.includes("\\u2026")) say(`${key}: text shortened: ${name}`);
    }
    for (let i = 0; i < texts.length; i++) for (let j = 0; j < i; j++)
      if (texts[i][0] !== "\\u00d7" && texts[j][0] !== "\\u00d7" && overlap(texts[i][1], texts[j][1]))
        say(`${key}: texts overlap: ${texts[i][0]} | ${texts[j][0]}`);
  }
  const texts = "h1, h2, h3, p, dt, dd, figcaption, summary";
  const blocks = [...page.querySelectorAll(`${texts}, li, .chart, .scroll, .card`)];
  for (const block of blocks) {
    const box = block.getBoundingClientRect();
    if (box.width && (box.left < -1 || box.right > frame.clientWidth + 1))
      say(`outside the page: ${block.tagName} ${block.textContent.slice(0, 40)}`);
    const style = getComputedStyle(block);
    if (block.scrollWidth > block.clientWidth + 1 && style.overflowX !== "auto" && style.display !== "inline")
      say(`text sticks out: ${block.tagName} ${block.textContent.slice(0, 40)}`);
  }
  const flat = [...page.querySelectorAll(`${texts}, .legend button, .contents a`)]
    .map((one) => [one.textContent.trim(), one.getBoundingClientRect()])
    .filter(([text, one]) => text && one.height);
  for (let i = 0; i < flat.length; i++) for (let j = Math.max(0, i - 12); j < i; j++)
    if (overlap(flat[i][1], flat[j][1])) say(`overlap: ${flat[i][0].slice(0, 30)}, ${flat[j][0]}`);
  return { name: frame.title, figures: figures.length, drawn: root.dataset.drawn, found,
           background: getComputedStyle(page.body).backgroundColor };
}
async function all() {
  const frames = [...document.querySelectorAll("iframe")];
  for (let tries = 0; tries < 1000; tries++) {
    if (frames.every((one) => one.contentDocument?.documentElement?.dataset.drawn)) break;
    await new Promise((done) => setTimeout(done, 50));
  }
  await new Promise((done) => setTimeout(done, 200));
  document.getElementById("out").textContent = JSON.stringify(frames.map(measure));
}
all().catch((error) => { document.getElementById("out").textContent = JSON.stringify(String(error.stack)); });
"""


def browse(folder: Path, pages: dict[str, Path], dark: bool) -> list[dict[str, Any]]:
    """Open every page at every width and return what was measured."""
    frames = "".join(
        f'<iframe title="{escaping.escape(name)} {width}" src="{path.name}" '
        f'style="border:0;width:{width}px;height:3000px"></iframe>'
        for name, path in pages.items()
        for width in WIDTHS
    )
    outer = folder / "outer.html"
    outer.write_text(f'<body>{frames}<pre id="out"></pre><script>{MEASURE}</script>', encoding="utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--allow-file-access-from-files",
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--virtual-time-budget=60000",
            "--window-size=1400,1000",
            "--dump-dom",
            outer.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    assert found[1], "the outer page measured nothing"
    return list(json.loads(escaping.unescape(found[1])))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_overlaps_is_cut_or_scrolls_sideways(tmp_path: Path, dark: bool) -> None:
    names = NAMES if not dark else NAMES[:1]
    pages = {name: write(case(name), tmp_path / f"{number}.html") for number, name in enumerate(names)}
    measured = browse(tmp_path, pages, dark)
    assert len(measured) == len(names) * len(WIDTHS)
    for one in measured:
        assert one["drawn"] == "yes", one["name"]
        assert one["figures"] >= 4, one["name"]
        # A name of a thousand letters is shortened on purpose; honest names never are.
        found = [text for text in one["found"] if "hostile" not in one["name"] or "shortened" not in text]
        assert not found, f"{one['name']}: " + "; ".join(found)
        assert one["background"] == ("rgb(17, 20, 25)" if dark else "rgb(246, 247, 249)")
