"""Files that somebody else wrote, and what messages show of them: bounded, whatever they contain."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import pytest

from algobias.errors import MOST_SHOWN, BadInput, shown, unknown_name
from algobias.kept.tables import Terms
from algobias.recipe_fields import Budget, OptimizerSpec
from algobias.running.spec import StudySpec, read_spec, spec_from
from algobias.untrusted import (
    DEEPEST,
    MOST_BYTES,
    MOST_VALUES,
    parse_yaml,
    possible_path,
    read_text,
    regular_file,
)


def bomb(levels):
    """Nine values on the first level, nine times as many on each further one."""
    names = [chr(ord("a") + level) for level in range(levels)]
    lists = [f"&{names[0]} [x,x,x,x,x,x,x,x,x]"]
    lists += [f"&{new} [{','.join(['*' + old + ' '] * 9)}]" for old, new in itertools.pairwise(names)]
    return f"task: digits\nchange: [{', '.join(lists)}]\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("task: digits\nchange: batch:x2\nchange: batch:x4\n", "the key 'change' is given twice, line 3"),
        ("task: digits\nlooks: 4\n'looks': 6\n", "the key 'looks' is given twice, line 3"),
        ("a:\n  b: 1\n  b: 2\n", "the key 'b' is given twice, line 3"),
        (bomb(12), f"more than {MOST_VALUES:,} values"),
        ("task: &a [*a ]\n", "contains itself"),
        ("x: 1\nseed: " + "9" * 5000 + "\n", "line 2"),
        ("tolerance: 1:30\n", "'1:30' is 90 in YAML: write that, or quotes around it, line 1"),
        ("tolerance: 1:30.5\n", "'1:30.5' is 90.5 in YAML"),
        ("seed: 017\n", "'017' is 15 in YAML"),
        ("a: " + "[" * 100_000, f"more than {DEEPEST} levels inside each other, line 1"),
        ("a: " + "{b: " * 5000, f"more than {DEEPEST} levels inside each other, line 1"),
        ("? [a, b]\n: 3\n", "unhashable key"),
        ("a: \x07\n", "special characters"),
        ("a: [1\n", "line 2"),
        ("a: !!binary x\n", "base64"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ],
)
def test_what_makes_yaml_a_trap_is_refused_at_once(text, says):
    begun = time.monotonic()
    with pytest.raises(BadInput, match=r"^spec: 'mine\.yaml' is not possible") as refused:
        parse_yaml(text, "spec", "mine.yaml")
    assert says in str(refused.value)
    assert time.monotonic() - begun < 5


def test_what_is_harmless_in_yaml_is_read():
    text = "a: &x [1, 2.5, .inf]\nb: *x\nc: &y {p: yes}\nd: {<<: *y, q: ~}\n"
    read = parse_yaml(text, "spec", "mine.yaml")
    assert read == {"a": [1, 2.5, float("inf")], "b": [1, 2.5, float("inf")], "c": {"p": True}} | {
        "d": {"p": True, "q": None}
    }
    assert parse_yaml("", "spec", "mine.yaml") is None
    plain = "day: 2024-99-99\nother: 2020-01-01\nlate: '1:30'\nzero: 0\npart: 0.5\nmany: 1_000\n"
    values = list(parse_yaml(plain, "spec", "mine.yaml").values())
    assert values == ["2024-99-99", "2020-01-01", "1:30", 0, 0.5, 1000]
    assert parse_yaml("x: " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1), "spec", "mine.yaml")


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * (MOST_BYTES + 1))
    (tmp_path / "latin").write_bytes(b"\xff")
    (tmp_path / "good").write_bytes("\ufeffä".encode())
    (tmp_path / "link").symlink_to(tmp_path / "good")
    for name, says in [
        (tmp_path / "pipe", "this is a pipe"),
        (tmp_path, "this is a folder"),
        ("/dev/zero", "this is a device"),
        (tmp_path / "absent", "No such file"),
        ("nul\0", "null"),
        (tmp_path / "large", "at most 1,048,576 bytes"),
        (tmp_path / "latin", "UTF-8"),
    ]:
        with pytest.raises(BadInput, match=r"^spec: ") as refused:
            read_text(type(tmp_path)(name), "spec")
        assert says in str(refused.value)
    assert read_text(tmp_path / "link", "spec") == "ä"
    assert regular_file(tmp_path / "link", "spec") == tmp_path / "link"


@pytest.mark.parametrize(
    ("key", "value"),
    [("tolerance", True), ("seed", False), ("looks", True), ("looks", [True, 4]), ("levels", [0.1, True])],
)
def test_booleans_are_no_numbers_in_a_study(key, value):
    with pytest.raises(BadInput, match=rf"^spec\.{key}.*not true or false"):
        spec_from({"task": "digits", "change": "batch:x2", key: value})


def test_booleans_are_no_numbers_anywhere():
    for model, fields in [
        (OptimizerSpec, {"lr": True}),
        (Budget, {"updates": True}),
        (Terms, {"tolerance": True}),
        (Terms, {"trivial": False}),
    ]:
        with pytest.raises(ValueError, match="not true or false"):
            model.model_validate(fields)
    assert OptimizerSpec(lr=0.1, momentum=0.5, nesterov=True).nesterov
    assert StudySpec(task="digits", aa=True).aa


def test_seeds_have_an_end(tmp_path):
    for seed in ("9" * 4000, "0x" + "f" * 5000, "281474976710657"):
        (tmp_path / "spec.yaml").write_text(f"task: digits\nchange: batch:x2\nseed: {seed}\n")
        with pytest.raises(BadInput, match=r"^spec\.seed: .*a number of at most 281474976710656"):
            read_spec(tmp_path / "spec.yaml")


def test_a_message_is_short_however_much_the_value_holds():
    nested: list[object] = ["x" * 50] * 10
    for _ in range(12):
        nested = [nested] * 10
    begun = time.monotonic()
    for value in (
        nested,
        "x" * 10**8,
        10**100_000,
        -(10**5000),
        [10**5000],
        {"k" * 10**6: 1},
        list(range(10**6)),
    ):
        assert len(shown(value)) <= MOST_SHOWN
        assert len(str(BadInput("field", value, "less"))) < MOST_SHOWN + 50
    assert len(str(unknown_name("n" * 10**6, "v" * 10**6, ["a"]))) < 1000
    assert time.monotonic() - begun < 5
    assert shown(10**5000) == "a number of about 5,000 digits"
    assert (shown("a"), shown(12), shown([1, "b"]), shown(None)) == ("'a'", "12", "[1, 'b']", "None")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("9" * 300, "File name too long"),
        ("a\0b", "null"),
        ("circle/a", "symbolic links"),
        ("~nobody-of-this-name/a", "home directory"),
    ],
)
def test_a_path_that_there_cannot_be_is_bad_input(path, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(BadInput, match=f"^--store: .* a path that there can be .*{says}"):
        possible_path(path, "--store")


@pytest.mark.parametrize("path", ["absent", "file/below", ".", "~"])
def test_a_path_that_there_can_be_is_one(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert possible_path(path, "--store").name == ("" if path == "." else Path(path).expanduser().name)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"change": None}, "spec.change is missing; needed: a value, or a list of values"),
        ({"change": {"batch": "x4"}}, "spec.change: {'batch': 'x4'} is not possible"),
        ({"change": "batch:x4", "levels": -1.0}, "training losses above 0"),
    ],
)
def test_what_a_field_holds_instead_is_shown(fields: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput) as refused:
        spec_from({"task": "digits", **fields})
    assert says in str(refused.value)


def test_one_level_is_a_level() -> None:
    assert spec_from({"task": "digits", "change": "batch:x4", "levels": 1e-3}).levels == (1e-3,)
