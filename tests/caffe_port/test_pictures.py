"""Finding and decoding pictures, good ones and bad ones."""

import io
import struct
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from caffe_port.pictures import BadImage, decode_image, list_images, read_images
from tests.photos import draw, encode, fill


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


def test_bad_pictures_are_skipped_and_named(folder: Path) -> None:
    (folder / "picture-0000.png").write_bytes(encode(draw(0), ".png")[:-20])
    bad: list[str] = []
    names = [name for name, _ in read_images(list_images([folder]), bad)]
    assert names == ["deeper/picture-002.png", "picture-000.png", "picture-001.png"]
    assert len(bad) == 1
    assert bad[0].startswith(f"{folder / 'picture-0000.png'}: the data stop before their end")
    with pytest.raises(BadImage, match=r"picture-0000\.png: .*--strict"):
        list(read_images(list_images([folder]), [], strict=True))


def test_a_picture_that_vanishes_is_bad(folder: Path) -> None:
    files = list_images([folder / "picture-000.png"])
    (folder / "picture-000.png").unlink()
    bad: list[str] = []
    assert list(read_images(files, bad)) == []
    assert "cannot be read (No such file or directory)" in bad[0]


@pytest.mark.parametrize(
    ("size", "least", "found"),
    [
        ((700, 1000), (256, 256), (350, 500)),  # 700 / 4 is less than 256
        ((700, 1000), (87, 80), (88, 125)),  # 700 / 8 = 87.5 rounds up
        ((700, 1000), (80, 88), (175, 250)),  # the larger side counts, for the picture may be turned
        ((700, 1000), (351, 10), (700, 1000)),
        ((64, 64), (64, 64), (64, 64)),
    ],
)
def test_large_jpegs_are_decoded_smaller_but_never_below_what_is_needed(
    size: tuple[int, int], least: tuple[int, int], found: tuple[int, int]
) -> None:
    picture = draw(3, *size)
    reduced = decode_image(encode(picture, ".jpg"), "large", least=least)
    assert reduced.shape == (*found, 3)
    averaged = cv2.resize(picture, found[::-1], interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(reduced - averaged).mean() < 4  # grey levels: JPEG's own loss
    assert decode_image(encode(picture, ".png"), "png", least=least).shape == picture.shape


def test_a_turned_jpeg_is_large_enough_too() -> None:
    """EXIF orientation 6: stored lying, shown standing."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = encode(draw(3, 600, 800), ".jpg")
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    turned = data[:2] + segment + data[2:]
    assert decode_image(turned, "turned").shape == (800, 600, 3)
    assert decode_image(turned, "turned", least=(300, 200)).shape == (400, 300, 3)
