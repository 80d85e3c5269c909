"""Two thousand damaged files: none makes us crash; each is refused in one line, answered rightly, or found wrong."""

from tests.fuzz.onnx_files import run

CASES = 2000


def test_damaged_files_end_in_one_line_or_an_answer() -> None:
    """What ONNX Runtime itself dies of is not ours: it is listed, and may not be many."""
    found = run(CASES)
    assert "traceback" not in found, found
    assert found["unclear"] == []
    outcomes = found["outcomes"]
    assert isinstance(outcomes, dict)
    died = found["onnxruntime_died_of"]
    assert isinstance(died, list)
    print(f"ONNX Runtime died of: {died}")
    assert len(died) <= CASES // 100, died
    assert sum(outcomes.values()) + len(died) == CASES
    assert min(outcomes[name] for name in ("refused", "right", "found wrong")) > 0
