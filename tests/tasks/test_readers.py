"""Readers of public formats: right on good files, one message on damaged ones, no big allocation."""

from __future__ import annotations

import gzip
import pickle
import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from algobias.errors import BadInput
from algobias.tasks.images import first_examples, standardised
from algobias.tasks.readers.cifar_pickle import read_batch
from algobias.tasks.readers.files import data_folders, find_files
from algobias.tasks.readers.idx import read_idx

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 5, 4), dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def put(folder: Path, raw: bytes, name: str = "some-idx3-ubyte") -> Path:
    path = folder / name
    path.write_bytes(raw)
    return path


def allocated(call) -> int:
    """Peak of memory that Python reserves while ``call`` fails with BadInput."""
    tracemalloc.start()
    try:
        with pytest.raises(BadInput):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_idx_raw_and_gzipped(tmp_path):
    raw = idx_bytes(IMAGES)
    for path in (put(tmp_path, raw), put(tmp_path, gzip.compress(raw), "some.gz")):
        assert np.array_equal(read_idx(path, (None, 5, 4)), IMAGES)
    labels = put(tmp_path, idx_bytes(np.arange(3, dtype=np.uint8)))
    assert read_idx(labels, (None,)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: b"", "first bytes none"),
        (lambda raw: raw[:3], "first bytes 00 00 08"),
        (lambda raw: raw[:9], "cut off in the header"),
        (lambda raw: raw[:-1], "139 of 140 bytes"),
        (lambda raw: raw + b"x", "more than the 140 bytes"),
        (lambda raw: b"\x01" + raw[1:], "first bytes 01 00 08 03"),
        (lambda raw: raw[:2] + b"\x0d" + raw[3:], "first bytes 00 00 0d 03"),  # floats
        (lambda raw: raw[:3] + b"\x01" + raw[4:], "first bytes 00 00 08 01"),  # labels in place of images
        (lambda raw: raw[:4] + struct.pack(">3I", 0, 5, 4), "shape 0 x 5 x 4"),
        (lambda raw: raw[:4] + struct.pack(">3I", 7, 4, 5) + raw[16:], r"shape 7 x 4 x 5.*shape any x 5 x 4"),
        (lambda raw: raw[:4] + struct.pack(">3I", 2**32 - 1, 5, 4) + raw[16:], "promises 85899345900 bytes"),
    ],
)
def test_idx_damaged(tmp_path, damage, message, packed):
    raw = damage(idx_bytes(IMAGES))
    path = put(tmp_path, gzip.compress(raw) if packed else raw, "f.gz" if packed else "f")
    with pytest.raises(BadInput, match=message):
        read_idx(path, (None, 5, 4))


def test_idx_header_is_checked_before_memory_is_reserved(tmp_path):
    for name, count in (("f", 2**31), ("f.gz", 2**31), ("f.gz", 50_000_000 // 20)):
        raw = bytes([0, 0, 8, 3]) + struct.pack(">3I", count, 5, 4) + b"abc"
        path = put(tmp_path, gzip.compress(raw) if name.endswith("gz") else raw, name)
        assert allocated(lambda p=path: read_idx(p, (None, 5, 4))) < 2_000_000


def test_idx_bomb_is_not_unpacked_beyond_what_the_header_promises(tmp_path):
    raw = idx_bytes(IMAGES) + bytes(200_000_000)
    path = put(tmp_path, gzip.compress(raw, 9), "bomb.gz")
    assert allocated(lambda: read_idx(path, (None, 5, 4))) < 5_000_000


NOT_GZIP = {"text": b"not gzip at all", "two bytes": b"\x1f\x8b", "cut off": gzip.compress(b"abc" * 99)[:-20]}


# Names of their own: a gzip header holds the time, and two processes must collect tests of the same names.
@pytest.mark.parametrize("raw", NOT_GZIP.values(), ids=NOT_GZIP.keys())
def test_idx_not_gzip(tmp_path, raw):
    with pytest.raises(BadInput, match=r"file x\.gz"):
        read_idx(put(tmp_path, raw, "x.gz"), (None, 5, 4))


def test_idx_folder_or_missing(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(BadInput, match="readable idx file"):
            read_idx(path, (None,))


def batch(count: int = 4, **changes) -> dict:
    images = np.random.default_rng(1).integers(0, 256, (count, 3072), dtype=np.uint8)
    names = [f"{i}.png" for i in range(count)]
    return {
        "batch_label": "b",
        "labels": [i % 10 for i in range(count)],
        "data": images,
        "filenames": names,
    } | changes


def python2_pickle(count: int = 4) -> bytes:
    """The official layout, as Python 2 wrote it (protocol 2, byte strings), put together by hand."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    pixels = batch(count)["data"].tobytes()
    out = b"\x80\x02}q\x01(" + text(b"batch_label") + b"q\x02" + text(b"training batch 1 of 5") + b"q\x03"
    out += text(b"labels") + b"q\x04]q\x05(" + b"".join(b"K" + bytes([i % 10]) for i in range(count)) + b"e"
    out += text(b"data") + b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85q\x08"
    out += (
        text(b"b") + b"q\x09\x87q\x0aRq\x0b(K\x01" + b"M" + struct.pack("<H", count) + b"M\x00\x0c\x86q\x0c"
    )
    out += b"cnumpy\ndtype\nq\x0d" + text(b"u1") + b"K\x00K\x01\x87q\x0eRq\x0f(K\x03" + text(b"|")
    out += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x10b\x89"
    out += b"T" + struct.pack("<i", len(pixels)) + pixels + b"q\x11tq\x12bu."
    return out


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_cifar_batches_of_any_protocol(tmp_path, protocol):
    path = put(tmp_path, pickle.dumps(batch(), protocol=protocol))
    images, labels = read_batch(path)
    assert np.array_equal(images, batch()["data"].reshape(4, 3, 32, 32))
    assert labels.tolist() == [0, 1, 2, 3]


def test_cifar_batch_as_the_official_files_are_written(tmp_path):
    raw = python2_pickle()
    assert np.array_equal(
        pickle.loads(raw, encoding="bytes")[b"data"], batch()["data"]
    )  # the sample is right
    images, labels = read_batch(put(tmp_path, raw))
    assert np.array_equal(images.reshape(4, 3072), batch()["data"])
    assert labels.tolist() == [0, 1, 2, 3]
    assert np.array_equal(
        images[2, 1], batch()["data"][2, 1024:2048].reshape(32, 32)
    )  # planes R, G, B by rows


class Runs:
    """What a hostile pickle would run."""

    ran = False

    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        return self.how


def mark(*args):
    Runs.ran = True


@pytest.mark.parametrize(
    "hostile",
    [
        Runs((mark, ())),
        Runs((eval, ("1+1",))),
        Runs((print, ("x",))),
        Runs((np.zeros, (10,))),
        Runs((np.frombuffer, (b"abc",))),
        Runs((getattr, (1, "real"))),
    ],
)
def test_cifar_pickle_runs_nothing(tmp_path, hostile):
    for content in (hostile, batch(labels=hostile), batch(extra=hostile)):
        for protocol in (0, 2, 4):
            with pytest.raises(BadInput, match="file some"):
                read_batch(put(tmp_path, pickle.dumps(content, protocol=protocol)))
    assert not Runs.ran


@pytest.mark.parametrize(
    "raw",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02cbuiltins\nexec\nq\x00X\x04\x00\x00\x001/0 \x85R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02cnumpy\ndtype\n)\x81.",
        b"\x80\x02cnumpy\ndtype\n}U\x01xK\x01sb.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct.os.system\n.",
        b"\x80\x04\x8c\x16numpy.core.multiarray.\x8c\x0c_reconstruct\x93.",
        b"\x80\x02P1\n.",
        b"\x82\x01.",
    ],
)
def test_cifar_pickle_programs(tmp_path, raw):
    with pytest.raises(BadInput, match="file some"):
        read_batch(put(tmp_path, raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x02}r\xff\xff\xff\x7f.",  # memo slot 2^31 - 1
        b"\x80\x02}p2000000000\n.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\x00\x00\x00.",  # frame of 2^48 bytes
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00abc.",  # bytes of 2^48
        b"\x80\x02T\xff\xff\xff\x7fabc.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
    ],
)
def test_cifar_pickle_sizes_are_not_believed(tmp_path, raw):
    path = put(tmp_path, raw)
    assert allocated(lambda: read_batch(path)) < 2_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "'list'"),
        ({"labels": [1]}, "'data'"),
        (batch(labels=[0, 1, 2]), "3 labels"),
        (batch(labels=[0, 1, 2, 10]), "numbers from 0 to 9"),
        (batch(labels=[0, 1, 2, True]), "numbers from 0 to 9"),
        (batch(data=batch()["data"].astype(np.float32)), "type f4"),
        (batch(data=batch()["data"].reshape(4, 3, 1024)), r"shape \(4, 3, 1024\)"),
        (batch(data=np.asfortranarray(batch()["data"])), "array of unsigned bytes"),
        (batch(data=b"abc"), "'data'"),
    ],
)
def test_cifar_other_content(tmp_path, content, message):
    with pytest.raises(BadInput, match=message):
        read_batch(put(tmp_path, pickle.dumps(content, protocol=2)))


def test_cifar_without_an_image(tmp_path):
    with pytest.raises(BadInput, match=r"shape \(0, 3072\)"):
        read_batch(put(tmp_path, python2_pickle(0)))


def test_cifar_truncated_anywhere(tmp_path):
    raw = python2_pickle(2)
    for end in [*range(0, 160, 3), *range(160, len(raw), 311), len(raw) - 1]:
        with pytest.raises(BadInput, match="file some"):
            read_batch(put(tmp_path, raw[:end]))


@pytest.mark.parametrize("kind", ["idx", "idx.gz", "cifar"])
def test_random_damage_gives_the_data_or_one_message(tmp_path, kind):
    chance = random.Random(kind)
    good = python2_pickle(2) if kind == "cifar" else idx_bytes(IMAGES)
    good = gzip.compress(good) if kind == "idx.gz" else good
    path = tmp_path / ("f.gz" if kind == "idx.gz" else "f")
    told = 0
    for _ in range(400):
        raw = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(min(len(raw), 250) if chance.random() < 0.9 else len(raw))
            how = chance.randrange(3)
            if how == 0:
                raw[place] = chance.randrange(256)
            elif how == 1:
                del raw[place : place + chance.randint(1, 9)]
            else:
                raw[place:place] = chance.randbytes(chance.randint(1, 9))
        path.write_bytes(raw)
        try:
            if kind == "cifar":
                images, labels = read_batch(path)
                assert images.shape == (len(labels), 3, 32, 32)
            else:
                assert read_idx(path, (None, 5, 4)).shape[1:] == (5, 4)
        except BadInput:
            told += 1
    assert told > 100


def test_a_file_is_taken_from_the_first_folder_that_has_all(tmp_path, monkeypatch):
    given, named, cached = (tmp_path / name for name in ("given", "named", "cached"))
    monkeypatch.setenv("ALGOBIAS_DATA", str(named))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda app: str(cached))
    wanted = ("S/a.gz", "S/b")
    for folder in (given, named, cached / "data"):
        (folder / "S").mkdir(parents=True)
    assert data_folders(given) == [given, named, cached / "data"]
    (given / "S" / "a.gz").touch()
    with pytest.raises(BadInput) as caught:
        find_files(given, wanted, "toy", "example.org/toy")
    for piece in (
        "S/b missing in",
        "example.org/toy",
        "--data",
        "ALGOBIAS_DATA",
        str(given),
        str(named),
        "S/a.gz",
    ):
        assert piece in str(caught.value)
    for folder in (cached / "data", named, given):
        (folder / "S" / "a").touch()  # unpacked
        (folder / "S" / "b").touch()
        assert find_files(given, wanted, "toy", "s") == [folder / "S" / "a", folder / "S" / "b"]
    monkeypatch.delenv("ALGOBIAS_DATA")
    assert find_files(None, wanted, "toy", "s")[0] == cached / "data" / "S" / "a"


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("per_channel", [False, True])
def test_standardised_is_what_numpy_says_in_double_precision(pool, per_channel):
    images = RNG.integers(0, 256, (230, 3, 8, 8), dtype=np.uint8)
    images[:, 1] //= 4
    test = RNG.integers(0, 256, (9, 3, 8, 8), dtype=np.uint8)
    train_out, test_out = standardised(images, test, pool, per_channel)

    def pixels(x):
        x = x.astype(np.float64) / 255
        return x.reshape(len(x), 3, 8 // pool, pool, 8 // pool, pool).mean(axis=(3, 5))

    axes = (0, 2, 3) if per_channel else None
    mean, deviation = (f(pixels(images), axis=axes, keepdims=True) for f in (np.mean, np.std))
    assert np.allclose(train_out.numpy(), (pixels(images) - mean) / deviation, atol=1e-6)
    assert np.allclose(test_out.numpy(), (pixels(test) - mean) / deviation, atol=1e-6)
    assert train_out.dtype.is_floating_point
    assert train_out.shape == (230, 3, 8 // pool, 8 // pool)


def test_images_of_one_colour_and_too_many_asked_for():
    grey = np.full((3, 1, 4, 4), 7, dtype=np.uint8)
    with pytest.raises(BadInput, match="one colour"):
        standardised(grey, grey)
    with pytest.raises(BadInput, match=r"m.train: 4 .*at most 3"):
        first_examples(grey, grey[:, 0, 0, 0], 4, "m.train")


def test_zlib_ratio_that_the_reader_relies_on():
    packed = zlib.compress(bytes(10_000_000), 9)
    assert 10_000_000 / len(packed) < 1032
