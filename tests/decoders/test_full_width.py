"""A step at full width for CaffeNet at its real size, in a process whose memory is counted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
GIB = 24


@pytest.mark.slow
def test_a_full_width_step_fits_into_memory(photos: Path, tmp_path: Path) -> None:
    """CONV1's, the net of fewest weights; `bench_full_width.py` has figures of all."""
    script = ROOT / "tests" / "benchmarks" / "bench_full_width.py"
    words = ["conv1", "--batch", "8", "--images", str(photos), "--out", str(tmp_path / "found.json")]
    done = subprocess.run(
        [sys.executable, str(script), *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert row["parameters"] == (96 + 256 + 256) * 256 * 9 + (256 * 64 + 64 * 32 + 32 * 3) * 25 + 3 * 256 + 99
    assert 0.1 < row["peak_gib"] < GIB
