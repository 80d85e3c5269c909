"""Finding, decoding, cropping and saving pictures, good ones and bad ones."""

import io
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from caffe_port.pictures import BadImage, decode_image, list_images
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
from tests.decoders.pictures import draw, encode, fill

ROOT = Path(__file__).parent.parent.parent


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "photos", 2)
    fill(tmp_path / "photos" / "deeper", 1, first=2)
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    return tmp_path / "photos"


def test_a_folder_is_searched_recursively(folder: Path) -> None:
    assert [image.name for image in list_images([folder])] == [
        "deeper/picture-002.png",
        "picture-000.png",
        "picture-001.png",
    ]


def test_list_shard_glob_and_file_give_the_same_pixels(folder: Path, tmp_path: Path) -> None:
    path = folder / "picture-001.png"
    listing = tmp_path / "list.txt"
    listing.write_text("photos/picture-001.png\n\n")
    tar = shard(tmp_path / "shard.tar", {"readme.txt": b"no", "a/picture-001.png": path.read_bytes()})
    for source in (path, listing, tar, folder / "*001.png", tmp_path / "*.tar"):
        (image,) = list_images([source])
        assert np.array_equal(image.read(), draw(1)), source


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    fill(tmp_path, 1, suffix=suffix)
    (image,) = list_images([tmp_path])
    difference = np.abs(image.read().astype(int) - draw(0))
    assert difference.mean() < (4 if suffix in (".jpg", ".webp") else 1e-9)


def test_grey_16_bit_and_transparent_pictures_become_rgb() -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    assert np.array_equal(decode_image(encode(grey, ".png"), "grey"), grey[..., None].repeat(3, 2))
    deep = grey.astype(np.uint16) * 256 + 255
    assert np.array_equal(decode_image(encode(deep, ".png"), "deep"), grey[..., None].repeat(3, 2))
    veiled = np.dstack([draw(0, 6, 8)[..., ::-1], grey])
    assert np.array_equal(decode_image(encode(veiled, ".png"), "veiled"), draw(0, 6, 8))


def cmyk_tiff(cyan: int, magenta: int, yellow: int, black: int) -> bytes:
    """A 2x2 uncompressed CMYK TIFF, written field by field (TIFF 6.0, section 16)."""
    fields = [
        (256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 4, 134), (259, 3, 1, 1), (262, 3, 1, 5),
        (273, 4, 1, 142), (277, 3, 1, 4), (278, 3, 1, 2), (279, 4, 1, 16), (332, 3, 1, 1),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *field) for field in fields)
    bits = struct.pack("<4H", 8, 8, 8, 8)
    return (
        b"II*\0"
        + struct.pack("<IH", 8, len(fields))
        + directory
        + bytes(4)
        + bits
        + bytes((cyan, magenta, yellow, black)) * 4
    )


def test_cmyk_becomes_rgb() -> None:
    rgb = decode_image(cmyk_tiff(55, 215, 165, 0), "cmyk")
    assert np.abs(rgb.astype(int) - (200, 40, 90)).max() <= 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.98])
def test_truncated_files_are_bad(suffix: str, kept: float) -> None:
    data = encode(draw(3), suffix)
    with pytest.raises(BadImage, match=r"^cut\.file: "):
        decode_image(data[: int(len(data) * kept)], "cut.file")


def test_text_named_jpg_is_bad(tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("dear reader\n" * 50)
    (image,) = list_images([tmp_path])
    with pytest.raises(BadImage, match=r"letter\.jpg: not a picture"):
        image.read()


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


def test_missing_and_empty_sources_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no pictures found; .*\.png"):
        list_images([tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match="nowhere: does not exist"):
        list_images([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match="nothing matches"):
        list_images([tmp_path / "*.jpg"])
    (tmp_path / "list.txt").write_text("gone.png\n")
    with pytest.raises(FileNotFoundError, match=r"list\.txt, line 1: 'gone\.png'"):
        list_images([tmp_path / "list.txt"])
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=r"noise\.bin: neither a picture"):
        list_images([tmp_path / "noise.bin"])
    (tmp_path / "cut.tar").write_bytes(b"x" * 700)
    with pytest.raises(ValueError, match=r"cut\.tar: not a readable tar"):
        list_images([tmp_path / "cut.tar"])


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
        crop = random_crop(picture, 32, np.random.default_rng(seed))
        candidates = (crop, crop[:, ::-1])
        scores = [
            cv2.matchTemplate(picture, np.ascontiguousarray(c), cv2.TM_SQDIFF).min() for c in candidates
        ]
        assert min(scores) < 100  # of some 3e6: the template match rounds


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
