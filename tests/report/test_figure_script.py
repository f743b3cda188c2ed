"""The JavaScript of figures: kept for the next program, and never used where it was cut or changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from algobias.reports.figures import script


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often it was built; what is kept lies below a folder of the test's own."""
    times: list[str] = []

    def build(text: str) -> str:
        times.append(text)
        return "let a = '</script><!-- \u00e9';"

    monkeypatch.setattr(script.vl_convert, "javascript_bundle", build)
    monkeypatch.setattr(script.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    return times


def fresh() -> str:
    """The script as a new program gets it."""
    script.bundle.cache_clear()
    try:
        return script.bundle()
    finally:
        script.bundle.cache_clear()


def test_it_is_built_once(built: list[str], tmp_path: Path) -> None:
    first = fresh()
    assert first == "let a = '<\\/script><\\!-- \u00e9';"
    assert fresh() == first
    assert len(built) == 1
    (kept,) = (tmp_path / "cache" / "algobias").iterdir()
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("change", [lambda text: text[:-3], lambda text: text + b"//", lambda text: b"\xff"])
def test_what_was_cut_or_changed_is_built_again(built: list[str], tmp_path: Path, change) -> None:
    first = fresh()
    (kept,) = (tmp_path / "cache" / "algobias").iterdir()
    kept.write_bytes(change(kept.read_bytes()))
    assert [fresh(), fresh()] == [first, first]
    assert len(built) == 2


def test_a_folder_that_cannot_be_made_is_no_matter(built: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands here")
    assert [fresh(), fresh()] == ["let a = '<\\/script><\\!-- \u00e9';"] * 2
    assert len(built) == 2
