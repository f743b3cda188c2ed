"""Sixteen small scripts, each with one trap: the null control is the plain run, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from attached.scripts import Ran, run
from wide_tests import wide

CASES = Path(__file__).parents[3] / "shared" / "own_script" / "cases"

SEEN = "applied"
NO_BACKWARD = "No backward seen"

EXPECTED = {
    "autocast_scaler": SEEN,
    "autograd_grad": NO_BACKWARD,
    "checkpointing": SEEN,
    "compile_aot": SEEN,
    "compile_loss": SEEN,
    "device_ctx": SEEN,
    "focal_detach": SEEN,
    "forward_direct": SEEN,
    "func_grad": NO_BACKWARD,
    "functional_model": SEEN,
    "generator": "replay is not equal: a private generator, or state in forward",
    "l2_data": SEEN,
    "np_rng": SEEN,
    "reused_buffer": SEEN,
    "thread": "the loss has no seen history",
    "two_losses": SEEN,
}

SAY = """
import hashlib
every = hashlib.sha256()
for name, value in sorted(dict(globals()).items()):
    tensors = [*value.parameters(), *value.buffers()] if isinstance(value, nn.Module) else []
    tensors += value if name == "W" else list(value.values()) if name == "P" else []
    for tensor in tensors:
        every.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
print("weights", every.hexdigest())
"""


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not part of the project")
@pytest.mark.parametrize("name", [wide(name) if name.startswith("compile") else name for name in EXPECTED])
def test_a_second_pass_changes_nothing_or_is_refused(tmp_path: Path, name: str) -> None:
    source = (CASES / f"{name}.py").read_text(encoding="utf-8") + SAY

    def ran(folder: str, null_control: bool) -> Ran:
        return run(tmp_path / folder, source, seed=0, null_control=null_control)

    plain, null = ran("plain", False), ran("null", True)
    assert plain.code == null.code == 0, null.err
    assert null.out == plain.out
    if EXPECTED[name] == SEEN:
        assert null.refused() == {}
        assert null.applied()["sam:0"] == null.end.updates > 0
    else:
        assert null.refused() == {"sam:0": EXPECTED[name]}
