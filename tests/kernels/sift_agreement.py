"""How far two programs find the same SIFT frames and descriptors; and a long comparison with VLFeat, by hand:

    python -m tests.kernels.sift_agreement FOLDER [--images 600]

prints what it found over pictures below FOLDER, as uint8 and as float32, whole, cropped and transposed in turn.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import kernels
from tests.kernels.pictures import FORMS
from tests.oracles import vlfeat_sift
from tests.tolerances import TOLERANCES

FOUND, ENTRIES = 0.995, 0.999  # least shares of frames found, and of descriptor entries that are close


@dataclass
class Agreement:
    """Counts of frames and of descriptor entries, added up over pictures."""

    expected: int = 0
    found: int = 0
    matched: int = 0
    close_entries: int = 0
    identical: int = 0  # pictures on which every frame and every descriptor is the same, bit for bit
    pictures: int = 0

    def add(self, found: kernels.Keypoints, frames: NDArray, descriptors: NDArray) -> None:
        """Compare keypoints with a reference's frames (N, 4) and uint8 descriptors (N, 128)."""
        pairs = _matches(found.frames.astype(np.float64), frames)
        ours, theirs = found.descriptors[pairs[:, 0]], descriptors[pairs[:, 1]]
        most = TOLERANCES["sift descriptor", "uint8", "cpu"].atol
        self.expected += len(frames)
        self.found += len(found.frames)
        self.matched += len(pairs)
        self.close_entries += int((np.abs(ours.astype(int) - theirs.astype(int)) <= most).sum())
        same = np.array_equal(found.frames, frames.astype(np.float32))
        self.identical += same and np.array_equal(found.descriptors, descriptors)
        self.pictures += 1

    def check(self) -> None:
        """Assert that enough frames and entries agree."""
        assert self.matched >= FOUND * self.expected, self
        assert self.matched >= FOUND * self.found, self
        assert self.close_entries >= ENTRIES * 128 * self.matched, self


def _matches(found: NDArray, expected: NDArray) -> NDArray:
    """Pairs (M, 2) of equal frames, each used once; equal frames stand in about the same place of both lists."""
    position, scale = (
        TOLERANCES["sift position", "float32", "cpu"],
        TOLERANCES["sift scale", "float32", "cpu"],
    )
    angle = TOLERANCES["sift angle", "float32", "cpu"]
    if not len(found) or not len(expected):
        return np.empty((0, 2), np.int64)
    near = np.ones((len(found), len(expected)), bool)
    for axis in (0, 1):
        near &= np.abs(found[:, None, axis] - expected[None, :, axis]) <= position.atol
    near &= np.abs(found[:, None, 2] - expected[None, :, 2]) <= scale.rtol * expected[None, :, 2]
    turn = found[:, None, 3] - expected[None, :, 3]
    near &= np.abs((turn + np.pi) % (2 * np.pi) - np.pi) <= angle.atol
    pairs, used = [], np.zeros(len(expected), bool)
    for i in np.flatnonzero(near.any(axis=1)):
        free = np.flatnonzero(near[i] & ~used)
        if len(free):
            used[free[0]] = True
            pairs.append((i, free[0]))
    return np.array(pairs, np.int64).reshape((-1, 2))


def as_uint8(descriptors: NDArray) -> NDArray:
    """Unit descriptors as the MATLAB command cuts them to whole numbers."""
    return np.minimum(np.float32(512) * descriptors, np.float32(255)).astype(np.uint8)


def compare(
    gray: NDArray, reference: vlfeat_sift.VLFeatSift, agreement: Agreement, **settings: float
) -> None:
    """Add one picture to an agreement."""
    frames, descriptors = reference.extract(gray.astype(np.float32), **settings)
    parameters = kernels.SiftParameters(**settings)  # type: ignore[arg-type]
    found = kernels.sift(gray, parameters=parameters)
    assert isinstance(found, kernels.Keypoints)
    agreement.add(found, frames, as_uint8(descriptors))


def pictures(folder: Path, count: int) -> list[NDArray]:
    """Grey pictures from a folder, of all forms, every other one cropped, every third one transposed."""
    rng = np.random.default_rng(0)
    result = []
    for n, file in enumerate(rng.permutation(np.array(sorted(folder.rglob("*.jpg"))))[:count]):
        gray = kernels.gray(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
        top, left = rng.integers(0, 16, 2) * (n % 2)
        gray = gray[top:, left:] if n % 3 else gray.T
        result.append(FORMS[list(FORMS)[n % len(FORMS)]](gray.astype(np.float64)))
    return result


def main() -> None:
    """Compare, and print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a folder of .jpg files, at any depth")
    parser.add_argument("--images", type=int, default=600, help="how many (default: 600)")
    arguments = parser.parse_args()
    agreement = Agreement()
    with tempfile.TemporaryDirectory() as folder:
        reference, fault = vlfeat_sift.compiled(Path(folder))
        if reference is None:
            raise SystemExit(fault)
        for gray in pictures(arguments.folder, arguments.images):
            compare(gray, reference, agreement)
    print(json.dumps(vars(agreement)))
    agreement.check()


if __name__ == "__main__":
    main()
