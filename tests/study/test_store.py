"""The store: exact, whole or not at all, shared, and clear about what is wrong with it."""

import errno
import json
import multiprocessing
import os
import pickle
import sqlite3
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algobias.errors import BadInput, StoreError
from algobias.kept.outcomes import outcome_from, outcome_json
from algobias.kept.runfiles import RunFiles
from algobias.kept.store import Store
from algobias.recipe import Recipe
from algobias.recipe_fields import Budget, OptimizerSpec
from algobias.runs.cost import Cost
from algobias.runs.observer import Check, Snapshot
from algobias.runs.outcome import Curve, Outcome
from algobias.training.checkpoints import load_into, load_snapshot, load_weights, save_snapshot, save_weights

RECIPE = Recipe(
    task="digits", examples=100, optimizer=OptimizerSpec(lr=0.1), batch=10, budget=Budget(updates=7)
)
ADDRESS = RECIPE.address()
OTHER = RECIPE.edit(batch=20).address()
A, B = "a" * 12, "b" * 12


def make_outcome(seed: int = 0, rows: int = 4, examples: int | None = 5) -> Outcome:
    rng = np.random.default_rng(seed)
    loss = rng.standard_normal(rows)
    loss[-1] = np.inf
    curve = Curve(np.arange(1, rows + 1), loss, np.full(rows, np.nan), rng.standard_normal(rows) / 3)
    per_example = None if examples is None else rng.standard_normal(examples).astype(np.float32)
    cost = Cost(updates=rows, flops=1e15 / 3, seconds=0.1)
    return Outcome(seed, curve, rows - 1, True, -np.inf, cost=cost, per_example=per_example)


def same(left: Outcome | None, right: Outcome) -> bool:
    """Equal to the last bit."""
    if left is None or (left.per_example is None) != (right.per_example is None):
        return False
    arrays = [(getattr(left.curve, key), getattr(right.curve, key)) for key in vars(left.curve)]
    if left.per_example is not None:
        arrays.append((left.per_example, right.per_example))
    equal = all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in arrays)
    fields = ("seed", "planned", "diverged", "trivial_metric", "cost")
    return equal and all(getattr(left, name) == getattr(right, name) for name in fields)


def make_snapshot() -> Snapshot:
    stacked = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tensors = {
        "params": stacked[1],  # shares its storage with the next one
        "momentum": stacked[2],
        "half": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
        "mask": torch.tensor([True, False]),
        "count": torch.tensor(3),
        "none": torch.zeros(0, 2),
        "turned": torch.arange(6.0).reshape(2, 3).T,
    }
    numbers = {"kept_at": float("inf"), "seconds": 0.1 + 0.2, "gradients": 7, "trivial": None}
    return Snapshot(
        5, tensors, numbers, (Check(1, 0.1, float("nan"), 1 / 3), Check(5, 1e-300, 1.0, 2.0, True))
    )


# Runs


def test_an_outcome_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        for seed, examples in ((0, 5), (1, None)):
            outcome = make_outcome(seed, examples=examples)
            assert store.get(ADDRESS, seed) is None
            store.put(ADDRESS, seed, outcome, RECIPE, "digits")
            assert same(store.get(ADDRESS, seed), outcome)
            assert store.get(OTHER, seed) is None
    with Store(tmp_path / "s") as store:
        assert same(store.get(ADDRESS, 0), make_outcome(0))


any_float = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(any_float, any_float, any_float), min_size=1, max_size=5), any_float)
def test_outcome_json_is_exact_and_standard(rows: list[tuple[float, float, float]], trivial: float) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    outcome = Outcome(3, Curve(np.arange(len(rows)), *columns), 0, trivial_metric=trivial)
    text = json.dumps(outcome_json(outcome), allow_nan=False)
    back = outcome_from(json.loads(text), None)
    for key in ("train_loss", "train_metric", "test_metric"):
        np.testing.assert_array_equal(getattr(back.curve, key), getattr(outcome.curve, key))
    np.testing.assert_array_equal(back.trivial_metric, trivial)


def test_a_run_written_to_files_only_is_found(tmp_path: Path) -> None:
    """As after a kill between writing the files and the database."""
    with Store(tmp_path / "s") as store:
        outcome = make_outcome()
        store.folder(ADDRESS, 0).write_outcome(outcome, RECIPE.resolved(), "digits")
        assert same(store.get(ADDRESS, 0), outcome)


def test_outcome_of_another_seed_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store, pytest.raises(ValueError, match="seed 1"):
        store.put(ADDRESS, 0, make_outcome(1), RECIPE, "digits")


@pytest.mark.parametrize("address", ["../../../../etc", "", "ABCDEF0123456789", "0123/4567"])
def test_an_address_cannot_leave_the_folder(tmp_path: Path, address: str) -> None:
    with Store(tmp_path / "s") as store, pytest.raises(ValueError, match="not the address"):
        store.folder(address, 0)


def test_curve_file_grows_line_by_line_and_starts_again_from_the_snapshot(tmp_path: Path) -> None:
    checks = [Check(u, 1 / u, float("nan"), float("inf"), u == 3) for u in (1, 2, 3)]
    with Store(tmp_path / "s") as store:
        folder = store.folder(ADDRESS, 0)
        files = RunFiles({0: folder})
        for check in checks[:2]:
            files.on_check(0, check)
        (folder.path / ".snapshot.safetensors.123.tmp").write_text("left over by a kill")
        with open(folder.curve_path, "a") as file:
            file.write('{"update": 3, "train_lo')
        assert [check.update for check in folder.curve()] == [1, 2]
        snapshot = Snapshot(1, {}, {}, (checks[0],))
        files = RunFiles({0: folder}, {0: snapshot})
        assert not list(folder.path.glob(".*"))
        for check in checks[1:]:
            files.on_check(0, check)
        assert list(map(repr, folder.curve())) == list(map(repr, checks))


def test_kept_weights_by_update(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        files = RunFiles({4: store.folder(ADDRESS, 4)})
        for update in (10, 9, 100):
            files.on_weights(4, update, {"w": torch.full((2,), float(update))})
        kept = store.folder(ADDRESS, 4).weights()
        assert list(kept) == [9, 10, 100]
        assert torch.equal(load_weights(kept[10], address=ADDRESS)["w"], torch.full((2,), 10.0))
        with pytest.raises(BadInput, match="another recipe's"):
            load_weights(kept[10], address=OTHER)


# Checkpoints


def test_a_snapshot_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    snapshot = make_snapshot()
    path = tmp_path / "snapshot.safetensors"
    save_snapshot(path, snapshot, address=ADDRESS, seed=3)
    back = load_snapshot(path, address=ADDRESS, seed=3)
    assert back.update == 5
    assert back.numbers == snapshot.numbers
    assert repr(back.checks) == repr(snapshot.checks)
    assert back.tensors.keys() == snapshot.tensors.keys()
    for name, tensor in snapshot.tensors.items():
        assert back.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(back.tensors[name], tensor, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("address", "seed", "word"), [(OTHER, 3, "another recipe's"), (ADDRESS, 4, "another run's")]
)
def test_a_snapshot_of_another_run_is_refused(tmp_path: Path, address: str, seed: int, word: str) -> None:
    save_snapshot(tmp_path / "a", make_snapshot(), address=ADDRESS, seed=3)
    with pytest.raises(BadInput, match=word):
        load_snapshot(tmp_path / "a", address=address, seed=seed)


def test_a_truncated_or_altered_snapshot_is_one_clear_message(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.safetensors"
    save_snapshot(path, make_snapshot(), address=ADDRESS, seed=3)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:length] for length in range(0, len(whole), 37)] + [whole + b"x"]
    for place in rng.integers(0, whole.index(b"}}}") if b"}}}" in whole else 400, 60):
        altered = bytearray(whole)
        altered[place] ^= 0xFF
        damaged.append(bytes(altered))
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(BadInput, match="snapshot"):
            load_snapshot(path, address=ADDRESS, seed=3)


def test_a_full_disk_keeps_the_earlier_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "snapshot.safetensors"
    save_snapshot(path, make_snapshot(), address=ADDRESS, seed=3)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        save_snapshot(path, Snapshot(6, {}, {}, ()), address=ADDRESS, seed=3)
    monkeypatch.undo()
    assert load_snapshot(path, address=ADDRESS, seed=3).update == 5
    assert [file.name for file in tmp_path.iterdir()] == ["snapshot.safetensors"]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(BOMB_MARK),)


BOMB_MARK = Path(os.devnull)


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    global BOMB_MARK
    BOMB_MARK = tmp_path / "exploded"
    torch.save({"w": Bomb()}, tmp_path / "zip.pt")
    torch.save({"w": Bomb()}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"w": Bomb()}))
    for name in ("zip.pt", "old.pt", "plain.pt"):
        with pytest.raises(BadInput, match="checkpoint"):
            load_weights(tmp_path / name)
    assert not BOMB_MARK.exists()


def test_weights_of_a_user(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    plain, nested = tmp_path / "plain.pt", tmp_path / "nested.pth"
    torch.save(model.state_dict(), plain)
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, nested)
    save_weights(tmp_path / "own.safetensors", model.state_dict(), address=ADDRESS, seed=0, update=1)
    for path in (plain, nested, tmp_path / "own.safetensors"):
        fresh = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
        load_into(fresh, load_weights(path), path)
        assert all(
            torch.equal(tensor, model.state_dict()[name]) for name, tensor in fresh.state_dict().items()
        )


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    before = model.weight.detach().clone()
    cases = [
        ({"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, r"\(2, 4\).*\(2, 3\)"),
        ({"weight": torch.zeros(2, 3)}, "no bias"),
        (
            {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "biass": torch.zeros(2)},
            "did you mean 'bias'",
        ),
    ]
    for tensors, words in cases:
        with pytest.raises(BadInput, match=words):
            load_into(model, tensors, tmp_path / "w.pt")
    assert torch.equal(model.weight, before)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    save_snapshot(tmp_path / "snapshot.safetensors", make_snapshot(), address=ADDRESS, seed=0)
    torch.save({"w": torch.zeros(100_000)}, tmp_path / "stored.pt")
    with (
        zipfile.ZipFile(tmp_path / "stored.pt") as old,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    for name in (
        "list.pt",
        "empty.pt",
        "snapshot.safetensors",
        "packed.pt",
        "absent.pt",
        "absent.safetensors",
    ):
        with pytest.raises(BadInput, match=name):
            load_weights(tmp_path / name)


# Studies


def test_studies_are_found_by_prefix_and_last(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        with pytest.raises(BadInput, match="none yet"):
            store.find_study("last")
        for id in ("d13fa2000000", "d177aa000000", "333300000001"):
            store.save_study(id, {"task": id})
        assert [study.id for study in store.studies()] == ["d13fa2000000", "d177aa000000", "333300000001"]
        assert store.find_study("33").spec == {"task": "333300000001"}
        assert store.find_study("last").id == "333300000001"
        store.save_study("d13fa2000000", {"task": "again"})
        assert store.find_study("last").id == "d13fa2000000"
        with pytest.raises(BadInput, match="d177aa000000"):
            store.find_study("d1")
        with pytest.raises(BadInput, match="did you mean '333300000001'"):
            store.find_study("333300000011")


def test_result_and_decisions_survive_a_second_start(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        store.save_study(A, {"seed": 0})
        for look in ({"n": 4, "gap": 1 / 3}, {"n": 6, "gap": 0.1}):
            store.save_decision(A, look)
        store.save_result(A, {"verdict": "bias"})
        first = store.find_study(A)
        store.save_study(A, {"seed": 0})
        store.save_decision(A, {"gap": 1 / 3, "n": 4})
        again = store.find_study(A)
    assert first.status == "finished"
    assert again.status == "interrupted"  # nobody works at it
    assert again.result == {"verdict": "bias"}
    assert again.decisions == first.decisions == ({"n": 4, "gap": 1 / 3}, {"n": 6, "gap": 0.1})
    assert again.created == first.created < again.used


def test_removing_a_study_keeps_runs_that_others_use(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        for seed in range(3):
            store.put(ADDRESS, seed, make_outcome(seed), RECIPE, "digits")
        store.save_study(A, {})
        store.save_study(B, {})
        store.use_runs(A, [(ADDRESS, 0), (ADDRESS, 1), (OTHER, 9)])
        store.use_runs(B, [(ADDRESS, 1)])
        before = store.size_on_disk()
        store.remove_study(A)
        assert [study.id for study in store.studies()] == [B]
        assert store.get(ADDRESS, 0) is None
        assert same(store.get(ADDRESS, 1), make_outcome(1))
        assert same(store.get(ADDRESS, 2), make_outcome(2))
        assert not store.folder(ADDRESS, 0).path.exists()
        assert store.size_on_disk() < before
        store.remove_study(B)
        assert store.get(ADDRESS, 1) is None
        with pytest.raises(BadInput, match="none yet"):
            store.remove_study(B)


def test_a_run_in_training_is_not_removed(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        store.put(ADDRESS, 0, make_outcome(0), RECIPE, "digits")
        store.save_study(A, {})
        store.use_runs(A, [(ADDRESS, 0)])
        with store.lock(ADDRESS, 0):
            assert store.remove_study(A) == 0
        assert same(store.get(ADDRESS, 0), make_outcome(0))


# The folder


def test_the_folder_is_private(tmp_path: Path) -> None:
    with Store(tmp_path / "deep" / "s") as store:
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
        assert (store.path / ".gitignore").read_text() == "*\n"


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(StoreError, match="store"):
        Store(tmp_path / "s")
    with pytest.raises(StoreError, match="store"):
        Store(tmp_path / "s" / "below")
    assert (tmp_path / "s").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write to")
def test_a_place_that_cannot_be_written_to() -> None:
    with pytest.raises(StoreError, match="written"):
        Store("/proc/algobias")
    with pytest.raises(StoreError, match="written"):
        Store("/proc")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to read-only folders"
)
def test_a_read_only_folder(tmp_path: Path) -> None:
    Store(tmp_path / "s").close()
    os.chmod(tmp_path / "s", 0o500)
    with pytest.raises(StoreError, match="write"):
        Store(tmp_path / "s")


def filled(path: Path, runs: int = 12) -> None:
    with Store(path) as store:
        store.save_study(A, {"task": "digits"})
        for seed in range(runs):
            store.put(ADDRESS, seed, make_outcome(seed, rows=60), RECIPE, "digits")


@pytest.mark.parametrize(
    "content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000], ids=["text", "pages"]
)
def test_a_corrupted_database_and_the_way_out(tmp_path: Path, content: bytes) -> None:
    filled(tmp_path / "s")
    database = tmp_path / "s" / "store.sqlite"
    database.write_bytes(content)
    with pytest.raises(StoreError, match=r"move store\.sqlite.*away"):
        Store(tmp_path / "s")
    database.rename(tmp_path / "aside")
    with Store(tmp_path / "s") as store:
        assert all(same(store.get(ADDRESS, seed), make_outcome(seed, rows=60)) for seed in range(12))
        assert store._db.rows("SELECT COUNT(*) FROM runs") == [(12,)]
        assert store.rebuild() == 12


def test_damage_anywhere_in_the_database_is_never_a_traceback(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    database = tmp_path / "s" / "store.sqlite"
    whole = database.read_bytes()
    rng = np.random.default_rng(1)
    complaints = 0
    for _ in range(60):
        start = int(rng.integers(0, len(whole)))
        length = int(rng.integers(1, 3000))
        damage = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
        database.write_bytes((whole[:start] + damage + whole[start + length :])[: len(whole)])
        for name in ("store.sqlite-wal", "store.sqlite-shm"):
            (tmp_path / "s" / name).unlink(missing_ok=True)
        try:
            with Store(tmp_path / "s") as store:
                store.studies()
                for seed in range(12):
                    assert same(store.get(ADDRESS, seed), make_outcome(seed, rows=60))
                store.save_study(B, {})
        except StoreError:
            complaints += 1
    assert complaints > 10


def test_other_databases_are_refused_and_left_alone(tmp_path: Path) -> None:
    for name, statement, word in (
        ("foreign", "CREATE TABLE mine (x)", "another program's"),
        ("newer", "PRAGMA user_version = 99", "update algobias"),
    ):
        folder = tmp_path / name
        if name == "newer":
            filled(folder)
        folder.mkdir(exist_ok=True)
        connection = sqlite3.connect(folder / "store.sqlite")
        connection.execute(statement)
        connection.commit()
        connection.close()
        with pytest.raises(StoreError, match=word):
            Store(folder)


def test_a_full_disk_under_the_database(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        store.save_study(A, {})
        pages = store._db.rows("PRAGMA page_count")[0][0]
        store._db.rows(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(StoreError, match="full"):
            store.save_result(A, {"text": "x" * 100_000})
        assert store.find_study(A).result is None


def test_a_locked_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("algobias.kept.database.BUSY_SECONDS", 0.1)
    with Store(tmp_path / "s") as store:
        store.save_study(A, {})
        other = sqlite3.connect(tmp_path / "s" / "store.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            store.save_study(B, {})
        other.execute("ROLLBACK")
        other.close()
        store.save_study(B, {})


def test_a_damaged_run_folder(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        folder = store.folder(ADDRESS, 0)
        folder.write_outcome(make_outcome(), RECIPE.resolved(), "digits")
        whole = folder.outcome_path.read_text()
        for text in (
            whole[:100],
            whole.replace(ADDRESS, OTHER),
            "[]",
            whole.replace('"planned": 3', '"planned": 9'),
        ):
            folder.outcome_path.write_text(text)
            with pytest.raises(StoreError, match="outcome of this run"):
                store.get(ADDRESS, 0)
            assert store.rebuild() == 0
        folder.outcome_path.write_text(whole)
        folder.per_example_path.write_bytes(pickle.dumps([1]))
        with pytest.raises(StoreError, match="outcome of this run"):
            store.get(ADDRESS, 0)


def write_many(path: str, first: int, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    with Store(path) as store:
        for seed in range(first, first + 25):
            store.put(ADDRESS, seed, make_outcome(seed), RECIPE, "digits")
            store.save_study(f"{first:012x}", {"seed": seed})
            store.save_decision("shared", {"seed": seed})
            store.use_runs("shared", [(ADDRESS, seed)])


def test_two_processes_at_once_from_the_first_moment(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    processes = [
        context.Process(target=write_many, args=(str(tmp_path / "s"), first, start)) for first in (0, 25)
    ]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    with Store(tmp_path / "s") as store:
        assert all(same(store.get(ADDRESS, seed), make_outcome(seed)) for seed in range(50))
        assert sorted(study.id for study in store.studies()) == [f"{first:012x}" for first in (0, 25)]
        looks = store._db.rows("SELECT place, look FROM decisions ORDER BY place")
        assert [row[0] for row in looks] == list(range(50))
        assert sorted(json.loads(row[1])["seed"] for row in looks) == list(range(50))
