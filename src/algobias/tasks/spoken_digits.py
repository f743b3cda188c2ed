"""``spoken_digits``: ten digits spoken by six people (Free Spoken Digit Dataset)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.calibration import calibration_error
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.readers.files import find_files
from algobias.tasks.readers.wav import read_wav
from algobias.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "free-spoken-digit-dataset/recordings/0_jackson_0.wav"
SOURCE = "github.com/Jakobovski/free-spoken-digit-dataset (all of recordings/)"
RATE, WINDOW, HOP, FFT, BANDS = 8000, 200, 80, 256, 40
"""Samples per second; samples of a window (25 ms), to the next (10 ms), of a transform; mel bands."""

TEST_RECORDINGS, VALIDATION_RECORDINGS = range(5), range(5, 10)
SMALL: dict[str, Any] = {
    "optimizer": "adam", "lr": 1e-3, "batch": 32, "schedule": "cosine", "warmup": 0.05, "updates": 400,
}  # fmt: skip
FULL: dict[str, Any] = {**SMALL, "batch": 64, "updates": 6000}


class SpokenDigitsOptions(Options):
    """``model``: ``convnet`` or ``conformer``. ``split``: ``official`` (recordings 0 to 4 of each speaker
    and digit for the test, 5 to 9 for validation), or ``speaker`` (all of ``speaker`` for the test).
    ``frames``: longest clip in hundredths of a second; longer ones are cut. ``width``, ``layers``: of the
    model.
    """

    model: Literal["convnet", "conformer"] = "convnet"
    split: Literal["official", "speaker"] = "official"
    speaker: str = "yweweler"
    frames: int = Field(default=80, ge=10, le=3000)
    width: int = Field(default=64, ge=4)
    layers: int = Field(default=2, ge=1)


def build(options: SpokenDigitsOptions, name: str, data_dir: Path | None) -> Task:
    """Log-mel spectrograms by the library ``librosa``, standardised by band over the training frames."""
    from algobias.models.speech import Conformer, SpeechConvNet

    (path,) = find_files(data_dir, [FILE], "spoken_digits", SOURCE)
    clips = sorted(path.parent.glob("*.wav"))
    known = [re.fullmatch(r"(\d)_([a-z]+)_(\d+)", clip.stem) for clip in clips]
    wrong = [clip.name for clip, found in zip(clips, known, strict=True) if found is None]
    if wrong:
        raise BadInput(
            "data of spoken_digits", wrong[0], "names like 7_theo_12.wav: digit, speaker, recording"
        )
    rows = [(int(found[1]), found[2], int(found[3])) for found in known if found is not None]
    parts = [_part(row, options) for row in rows]
    speakers = sorted({speaker for _, speaker, _ in rows})
    if options.split == "speaker" and options.speaker not in speakers:
        raise BadInput("spoken_digits.speaker", options.speaker, ", ".join(speakers))
    features = [log_mel(read_wav(clip, RATE, "spoken_digits"))[: options.frames] for clip in clips]
    train = np.concatenate([one for one, part in zip(features, parts, strict=True) if part == "train"])
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    table = torch.zeros(len(rows), options.frames, BANDS + 1)
    for row, one in enumerate(features):
        table[row, : len(one), :BANDS] = torch.from_numpy((one - mean) / deviation)
        table[row, : len(one), BANDS] = 1.0
    labels = torch.tensor([digit for digit, _, _ in rows])

    def of(part: str) -> tuple[Tensor, Tensor]:
        index = torch.tensor([row for row, found in enumerate(parts) if found == part])
        return table[index], labels[index]

    models: dict[str, Callable[[], nn.Module]] = {
        "convnet": functools.partial(SpeechConvNet, BANDS, 10, options.width),
        "conformer": functools.partial(Conformer, BANDS, 10, options.width, options.layers),
    }
    return Task(
        name,
        train=of("train"),
        test=of("test"),
        validation=of("validation"),
        model=models[options.model],
        loss=classification_loss,
        metric=accuracy,
        metric_name="accuracy",
        recipe=FULL if options.preset == "full" else SMALL,
        trivial=10.0,
        habit=0.8,
        classes=10,
        also={"calibration_error": calibration_error},
    )


def _part(row: tuple[int, str, int], options: SpokenDigitsOptions) -> str:
    _, speaker, recording = row
    if options.split == "speaker":
        if speaker == options.speaker:
            return "test"
        return "validation" if recording in VALIDATION_RECORDINGS else "train"
    if recording in TEST_RECORDINGS:
        return "test"
    return "validation" if recording in VALIDATION_RECORDINGS else "train"


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Logarithms of the energies of 40 mel bands in windows of 25 ms, every 10 ms, [T, 40] float32.

    Raises:
        BadInput: The ``librosa`` library is not installed.
    """
    power = np.abs(need_librosa().stft(samples, n_fft=FFT, win_length=WINDOW, hop_length=HOP)) ** 2
    energies = np.einsum("ft,mf->mt", power, _mel_bands(), optimize=True)
    features: np.ndarray = np.log(energies + 1e-6).T.astype(np.float32)
    return features


@functools.cache
def _mel_bands() -> np.ndarray:
    """The weights of the bands, [bands, frequencies]: melspectrogram makes them for each clip."""
    bands: np.ndarray = need_librosa().filters.mel(sr=RATE, n_fft=FFT, n_mels=BANDS, fmin=20.0)
    return bands


def need_librosa() -> Any:
    """The ``librosa`` library.

    Raises:
        BadInput: It is not installed.
    """
    try:
        import librosa
    except ImportError as error:
        allowed = "with the library librosa: pip install 'algobias[audio]'"
        raise BadInput("task", "spoken_digits", allowed) from error
    return librosa


ENTRY = BuiltIn(
    name="spoken_digits",
    summary="digits spoken by six people, 3,000 clips of about half a second; official split or by speaker",
    options=SpokenDigitsOptions,
    build=build,
    recipe=dict(SMALL),
    trivial="chance, 10 %",
    files=("free-spoken-digit-dataset/recordings/*.wav",),
    source=SOURCE,
    presets={"full": {"model": "conformer", "width": 144, "layers": 8, "frames": 200}},
)
