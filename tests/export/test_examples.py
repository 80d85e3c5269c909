"""The scripts under examples/ run as their first lines say."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import io

import export
from decoders.representations import representation
from tests.photos import draw, fill

ROOT = Path(__file__).parents[2]


def run(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def read(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_a_folder_is_reconstructed_and_resumed(pipeline: Path, tmp_path: Path) -> None:
    photos, out = fill(tmp_path / "photos", 4), tmp_path / "out"
    done = run("reconstruct_folder", pipeline, photos, out)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 pictures" in done.stdout
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert sorted(times) == [f"picture-00{i}.png.png" for i in range(4)]
    hog = representation("hog")
    expected = export.load(pipeline)(hog.framing.centre(draw(2))[None])[0]
    assert np.abs(read(out / "picture-002.png.png").astype(int) - expected).max() <= 1
    (out / "picture-001.png.png").unlink()
    (photos / "torn.png").write_bytes(b"no picture")
    again = run("reconstruct_folder", pipeline, photos, out)
    assert again.returncode == 1
    assert "torn.png" in again.stdout
    assert "4 of 5 pictures" in again.stdout
    now = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert {name for name in times if now[name] == times[name]} == times.keys() - {"picture-001.png.png"}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
def test_features_made_elsewhere_are_decoded(small: Path, tmp_path: Path, suffix: str) -> None:
    features = np.random.default_rng(0).random((3, 31, 8, 8)) * 0.3
    path = tmp_path / f"features{suffix}"
    if suffix == ".npy":
        np.save(path, features)
    elif suffix == ".npz":
        np.savez(path, hog=features, other=np.zeros(3))
    else:
        io.savemat(path, {"hog": features, "other": np.zeros(3)}, do_compression=True)
    done = run("decode_features", small, path, "--name", "hog", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    expected = export.load(small)(features.astype(np.float32))
    assert len(list((tmp_path / "out").iterdir())) == 3
    for number, image in enumerate(expected):
        assert np.abs(read(tmp_path / "out" / f"{number:06}.png").astype(int) - image).max() <= 1


def test_other_features_are_refused_in_one_line(small: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((3, 7)))
    done = run("decode_features", small, tmp_path / "flat.npy", "--out", tmp_path / "out")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "this decoder takes (N, 31, 32, 32)" in line
