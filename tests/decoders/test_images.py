"""Cropping, batching, hashing and saving pictures."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from caffe_port.pictures import list_images
from decoders.images import (
    centre_crop,
    cover,
    data_hash,
    random_crop,
    resize,
    save_image,
    side_by_side,
    split_by_hash,
    to_batch,
    to_pictures,
)
from tests.photos import draw, fill

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "photos", 2)
    fill(tmp_path / "photos" / "deeper", 1, first=2)
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    return tmp_path / "photos"


CLAIMS = """
import struct, sys, zlib
import {module}
from caffe_port.pictures import BadImage, decode_image
header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
data = b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(
    struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
)
try:
    decode_image(data, "bomb")
except BadImage as error:
    print(error)
"""


@pytest.mark.parametrize("module", ["decoders.evaluation", "decoders.images", "caffe_port.pictures"])
def test_a_header_that_claims_too_many_pixels_is_bad(module: str) -> None:
    """Whichever module imports OpenCV first, the limit is set before."""
    code = CLAIMS.format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("bomb: ")
    assert "2^27" in done.stdout
    assert done.stderr == ""


def test_hash_depends_on_names_and_sizes_not_on_place(folder: Path, tmp_path: Path) -> None:
    first = data_hash(list_images([folder]))
    folder.rename(tmp_path / "moved")
    assert data_hash(list_images([tmp_path / "moved"])) == first
    (tmp_path / "moved" / "picture-000.png").rename(tmp_path / "moved" / "other.png")
    assert data_hash(list_images([tmp_path / "moved"])) != first


def test_split_is_disjoint_and_stable(tmp_path: Path) -> None:
    images = list_images([fill(tmp_path, 60, suffix=".bmp")])
    training, validation = split_by_hash(images, 0.2)
    assert set(training).isdisjoint(validation)
    assert set(training) | set(validation) == set(images)
    assert 3 <= len(validation) <= 24
    fewer = [image for image in images if image != training[0]]
    assert split_by_hash(fewer, 0.2)[1] == validation


def test_cover_keeps_the_aspect_ratio() -> None:
    assert cover(draw(0, 100, 200), (256, 256)).shape == (256, 512, 3)
    assert cover(draw(0, 600, 300), (256, 256)).shape == (512, 256, 3)
    assert cover(np.zeros((3, 50_000, 3), np.uint8), (256, 256)).shape == (256, 1024, 3)


def test_centre_crop_takes_the_middle() -> None:
    picture = np.zeros((64, 192, 3), np.uint8)
    picture[:, 64:128] = 200
    assert np.array_equal(centre_crop(picture, (64, 64)), np.full((64, 64, 3), 200, np.uint8))
    assert centre_crop(draw(0, 3, 3), (256, 256)).shape == (256, 256, 3)
    assert centre_crop(draw(0, 1, 500), (64, 128)).shape == (64, 128, 3)


def test_shrinking_averages() -> None:
    checkers = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    assert np.abs(resize(checkers, 16, 16).astype(int) - 127.5).max() <= 1


def test_random_crops_are_parts_of_the_picture_or_mirrored_ones() -> None:
    picture = draw(1)
    for seed in range(20):
        crop = random_crop(picture, (32, 32), np.random.default_rng(seed))
        candidates = (crop, crop[:, ::-1])
        scores = [
            cv2.matchTemplate(picture, np.ascontiguousarray(c), cv2.TM_SQDIFF).min() for c in candidates
        ]
        assert min(scores) < 100  # of some 3e6: the template match rounds


def test_zoomed_crops_are_larger_parts_scaled_down() -> None:
    """On a ramp of one grey level a pixel, the step between a crop's columns is the factor it was scaled by."""
    ramp = np.arange(200, dtype=np.uint8)[None, :, None].repeat(200, 0).repeat(3, 2)
    steps = []
    for seed in range(50):
        crop = random_crop(ramp, (64, 64), np.random.default_rng(seed), zoom=2).astype(float)
        assert crop.shape == (64, 64, 3)
        steps.append(abs(crop[0, -1, 0] - crop[0, 0, 0]) / 63)
    assert 1 <= min(steps) < 1.1
    assert 1.8 < max(steps) <= 2.02
    assert random_crop(ramp, (150, 150), np.random.default_rng(0), zoom=4).shape == (150, 150, 3)


def test_batches_and_pictures_are_inverses() -> None:
    pictures = np.stack([draw(0), draw(1)])
    batch = to_batch(pictures)
    assert batch.dtype == np.float32
    assert batch.shape == (2, 3, 96, 128)
    assert np.array_equal(to_pictures(batch), pictures)
    assert to_pictures(np.full((1, 3, 1, 1), 300.0)).max() == 255


def test_saved_pictures_read_back(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", draw(4))
    assert np.array_equal(list_images([tmp_path])[0].read(), draw(4))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        save_image(tmp_path / "no" / "a.png", draw(4))


def test_side_by_side_leaves_a_white_gap() -> None:
    joined = side_by_side([draw(0), draw(1)], gap=5)
    assert joined.shape == (96, 261, 3)
    assert (joined[:, 128:133] == 255).all()
    assert np.array_equal(joined[:, 133:], draw(1))
