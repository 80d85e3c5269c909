"""Damaged and hostile files, read in processes of their own: no crash, no hang, bounded memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(module: str, *options: str) -> dict:
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_twenty_thousand_damaged_files() -> None:
    """Each ends in a ConversionError or in what Google's protobuf reads (compared inside the process)."""
    found = run("tests.fuzz.mutations", "--cases", "20000")
    assert found["cases"] == 20_000
    assert found["slowest_s"] < 2
    assert found["text read"] > 500
    assert found["binary read"] > 1000
    assert found["text refused"] + found["binary refused"] > 10_000


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure memory"
)
def test_files_made_to_cost_memory_or_time() -> None:
    for name, cost in run("tests.fuzz.hostile").items():
        assert cost["bytes"] <= 2 * cost["size"] + 64 * 2**20, name
        assert cost["seconds"] < 2, name
