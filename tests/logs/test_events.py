"""Event files as TensorBoard wrote them, cut off and damaged; the checksum and messages by known answers."""

from __future__ import annotations

import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from curves import CHECKS, SEEDS, STEPS, accuracy, train_loss
from judged_fixtures import FIXTURES, compared, mean_gap

from algobias.errors import BadInput
from algobias.kept.tables import Terms
from algobias.logs.arm import Reading, read_arm
from algobias.logs.crc import crc32c, masked_crc
from algobias.logs.formats.events import Broken, fields, records
from algobias.studies.compare import compare_tables

BASE = FIXTURES / "tensorboard" / "base"


def test_the_checksum_has_the_published_values():
    """RFC 3720, B.4, and the check value of CRC-32C."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32


def test_files_of_torch_have_the_verdict_of_their_curves():
    result = compared("tensorboard").result
    assert result["verdict"] == "bias"
    assert result["gap"]["mean"] == pytest.approx(mean_gap(), rel=1e-5)
    assert result["logs"][0]["form"] == "TensorBoard event files"
    assert list(result["logs"][0]["seeds"].values()) == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_both_ways_of_writing_scalars_are_read(seed):
    """Even seeds were written as numbers, odd ones as tensors of one number."""
    arm = read_arm("baseline", BASE / f"seed={seed}", "b", Reading())
    checks = [row for row in arm.runs[0].rows if row.test_metric is not None]
    assert [row.update for row in checks] == [STEPS * (k + 1) for k in range(CHECKS)]
    for row in checks:
        assert row.test_metric == pytest.approx(
            float(np.float32(accuracy("base", seed, row.update))), rel=1e-7
        )
        since = [
            train_loss("base", seed, step) for step in range(row.update - 4, row.update + 1) if step % 2 == 0
        ]
        assert row.train_loss == pytest.approx(sum(since) / len(since), rel=1e-6)


def one_file(tmp_path: Path) -> Path:
    (source,) = (BASE / "seed=0").iterdir()
    return Path(shutil.copy(source, tmp_path / source.name))


def test_a_tail_that_was_cut_off_is_left_out_with_a_note(tmp_path):
    path = one_file(tmp_path)
    whole = read_arm("baseline", path, path.name, Reading())
    ends = [0]
    for record in records(io.BytesIO(path.read_bytes())):
        ends.append(ends[-1] + 16 + len(record))
    path.write_bytes(path.read_bytes()[: ends[-4] - 3])
    cut = read_arm("baseline", path, path.name, Reading())
    assert any("is cut off after record" in note for note in cut.notes)
    assert whole.runs[0].rows[: len(cut.runs[0].rows) - 1] == cut.runs[0].rows[:-1]
    assert len(cut.runs[0].rows) < len(whole.runs[0].rows) + 1


def test_a_damaged_record_is_noticed(tmp_path):
    path = one_file(tmp_path)
    data = bytearray(path.read_bytes())
    place = data.index(b"val/acc", len(data) // 2)
    data[place] ^= 1
    path.write_bytes(bytes(data))
    arm = read_arm("baseline", path, path.name, Reading())
    assert any("is damaged after record" in note for note in arm.notes)
    data[3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BadInput, match=r"an event file of TensorBoard \(is damaged\)"):
        read_arm("baseline", path, path.name, Reading(forms=("tensorboard",)))


def test_an_empty_file_holds_no_scalars(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="scalars; this one holds none"):
        read_arm("baseline", path, path.name, Reading())


def framed(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def event(step: int, tag: str, value: float) -> bytes:
    name = tag.encode()
    entry = b"\x0a" + bytes([len(name)]) + name + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(entry)]) + entry
    return (
        b"\x09"
        + struct.pack("<d", 1.7e9)
        + b"\x10"
        + bytes([step])
        + b"\x2a"
        + bytes([len(summary)])
        + summary
    )


def test_a_run_that_was_started_again_goes_on_in_a_later_file(tmp_path):
    first = [event(step, tag, step) for step in (1, 2, 3) for tag in ("train/loss", "val/acc")]
    again = [event(step, tag, 10 * step) for step in (3, 4) for tag in ("train/loss", "val/acc")]
    (tmp_path / "events.out.tfevents.999.host").write_bytes(b"".join(map(framed, first)))
    (tmp_path / "events.out.tfevents.1000.host").write_bytes(b"".join(map(framed, again)))
    arm = read_arm("baseline", tmp_path, "b", Reading())
    assert [row.test_metric for row in arm.runs[0].rows] == [1, 2, 30, 40]
    assert any("logged anew after a restart" in note for note in arm.notes)


def test_large_records_are_passed_by():
    data = framed(event(1, "a", 1.0)) + framed(bytes(100_000)) + framed(event(2, "a", 1.0))
    assert [len(record) > 0 for record in records(io.BytesIO(data))] == [True, False, True]
    with pytest.raises(Broken, match="cut off"):
        list(records(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"\x0a\x05abc", "inside of a field"),
        (b"\x08\xff", "inside of a number"),
        (b"\x08" + b"\xff" * 11, "more than 64 bits"),
        (b"\x0b", "no event"),
    ],
)
def test_misshapen_messages_are_refused(message, says):
    with pytest.raises(Broken, match=says):
        list(fields(message))


def test_event_files_beside_another_log_are_a_question(tmp_path):
    shutil.copytree(BASE, tmp_path / "base")
    shutil.copy(FIXTURES / "keras" / "base" / "seed=0" / "history.csv", tmp_path / "base" / "history.csv")
    variant = FIXTURES / "tensorboard" / "variant"
    with pytest.raises(BadInput, match="--format tensorboard"):
        compare_tables(tmp_path / "base", variant)
    named = compare_tables(
        tmp_path / "base", variant, Terms(tolerance=0.3), reading=Reading(forms=("tensorboard",))
    )
    assert named.result["verdict"] == "bias"
