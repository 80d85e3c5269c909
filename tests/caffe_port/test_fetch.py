"""Downloads from a local server that stalls, truncates, lies about lengths and serves wrong files."""

import gzip
import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from caffe_port import fetch as fetching
from caffe_port import zoo
from caffe_port.binary import encode
from caffe_port.errors import ConversionError
from caffe_port.fetch import FetchError, Options, fetch, unpack
from caffe_port.wire import open_caffemodel
from caffe_port.zoo import Download, Net

WEIGHTS = np.random.default_rng(0).bytes(300_000)
MEAN = np.random.default_rng(1).normal(110, 9, (3, 256, 256)).astype("<f4")
LABELS = "".join(f"n{10000000 + 7 * i} thing {i}\n" for i in range(1000)).encode()


def tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


BINARYPROTO = b"".join(
    encode({"num": 1, "channels": 3, "height": 256, "width": 256, "data": MEAN.ravel().tolist()}, "BlobProto")
)
ARCHIVE = tar(
    {"train.txt": b"x" * 9000, "./imagenet_mean.binaryproto": BINARYPROTO, "synset_words.txt": LABELS}
)


class Server(ThreadingHTTPServer):
    """Serves `files`; `behave(handler, data)` answers in place of a plain answer while `times` lasts."""

    files: dict[str, bytes]
    behave: Callable[["Handler", bytes], None] | None = None
    times = 0
    asked: list[tuple[str, str | None]]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when the client hangs up, as it should."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/models/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        data = self.server.files.get(self.path.removeprefix("/models/"))
        if data is None:
            self.send_error(404)
        elif self.server.behave is not None and self.server.times > 0:
            self.server.times -= 1
            self.server.behave(self, data)
        else:
            self.plain(data)

    def plain(self, data: bytes, length: int | None = None) -> None:
        """A right answer with a range if one was asked for; `length` is what it claims to send."""
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start if length is None else length))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start:])

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.files = {"net.caffemodel": WEIGHTS, "aux.tar.gz": ARCHIVE}
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def net(server: Server, monkeypatch: pytest.MonkeyPatch) -> Net:
    monkeypatch.setattr(fetching, "MEAN_SHA1", hashlib.sha1(MEAN.tobytes()).hexdigest())
    weights = Download("net.caffemodel", (server.url,), len(WEIGHTS), hashlib.sha1(WEIGHTS).hexdigest())
    extras = Download("aux.tar.gz", (server.url,), len(ARCHIVE))
    return replace(zoo.find("caffenet"), weights=weights, extras=extras)


FAST = Options(timeout_s=0.5, pause_s=0.0)


def test_a_net_arrives_whole(net: Net, tmp_path: Path, server: Server) -> None:
    seen: list[tuple[str, int, int]] = []
    paths = fetch(net, tmp_path / "new", replace(FAST, progress=lambda *step: seen.append(step)))
    assert paths["weights"].read_bytes() == WEIGHTS
    assert paths["mean"].read_bytes() == BINARYPROTO
    assert paths["labels"].read_bytes() == LABELS
    assert paths["deploy"].read_bytes() == net.deploy.read_bytes()
    assert {path.name for path in (tmp_path / "new").iterdir()} == {path.name for path in paths.values()}
    assert seen[-1] == ("net.caffemodel", len(WEIGHTS), len(WEIGHTS))
    server.asked.clear()
    assert fetch(net, tmp_path / "new", FAST) == paths
    assert server.asked == []  # nothing is fetched twice


def truncate(handler: Handler, data: bytes) -> None:
    """Break off in the middle of what was announced."""
    start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(len(data) - start))
    handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    handler.end_headers()
    handler.wfile.write(data[start : start + 50_000])


def stall(handler: Handler, data: bytes) -> None:
    truncate(handler, data)
    handler.wfile.flush()
    time.sleep(1.0)


def ignore_ranges(handler: Handler, data: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.mark.parametrize(("behave", "times"), [(truncate, 3), (stall, 2), (ignore_ranges, 1)])
def test_a_bad_connection_is_resumed(
    net: Net, tmp_path: Path, server: Server, behave: Callable[[Handler, bytes], None], times: int
) -> None:
    (tmp_path / "net.caffemodel.part").write_bytes(WEIGHTS[:10_000])  # from an earlier run
    local = tmp_path / "aux.tar.gz"
    local.write_bytes(ARCHIVE)
    server.behave, server.times = behave, times
    paths = fetch(net, tmp_path, replace(FAST, local=(local,)))
    assert paths["weights"].read_bytes() == WEIGHTS
    starts = [10_000 + 50_000 * i for i in range(times + (behave is not ignore_ranges))]
    assert [ranged for _, ranged in server.asked] == [f"bytes={start}-" for start in starts]


def test_a_source_that_always_breaks_is_given_up(net: Net, tmp_path: Path, server: Server) -> None:
    def silent(handler: Handler, data: bytes) -> None:
        handler.send_response(206)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()

    server.behave, server.times = silent, 1000
    with pytest.raises(FetchError, match=r"aux.tar.gz: http.*failed after 0 bytes .*--from-file aux.tar.gz"):
        fetch(net, tmp_path, FAST)
    assert len(server.asked) == fetching.ATTEMPTS


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (len(WEIGHTS) + 500, "failed after 300000 bytes|gave 300000 bytes"),  # then there is nothing more
        (len(WEIGHTS) - 500, "gave 299500 bytes with SHA-1"),
        (10**12, "would send 1000000000000 bytes; the file has about 300000"),
    ],
)
def test_lies_about_the_length(net: Net, tmp_path: Path, server: Server, length: int, expected: str) -> None:
    fetch(net, tmp_path, FAST)
    (tmp_path / "net.caffemodel").unlink()
    server.behave, server.times = (lambda handler, data: handler.plain(data, length)), 1000
    if length == len(WEIGHTS) + 500:  # all the bytes did come: a right file is a right file
        assert fetch(net, tmp_path, FAST)["weights"].read_bytes() == WEIGHTS
        return
    with pytest.raises(FetchError, match=expected):
        fetch(net, tmp_path, FAST)
    assert not (tmp_path / "net.caffemodel").exists()


def test_endless_answers_are_cut_off(net: Net, tmp_path: Path, server: Server) -> None:
    def endless(handler: Handler, data: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(data)

    fetch(net, tmp_path, FAST)
    (tmp_path / "net.caffemodel").unlink()
    server.behave, server.times = endless, 1
    with pytest.raises(FetchError, match="sends more than 600000 bytes; the file has about 300000"):
        fetch(net, tmp_path, FAST)


def test_a_wrong_file_is_refused_and_forgotten(net: Net, tmp_path: Path, server: Server) -> None:
    server.files["net.caffemodel"] = bytes(len(WEIGHTS))
    found = hashlib.sha1(bytes(len(WEIGHTS))).hexdigest()
    with pytest.raises(FetchError) as caught:
        fetch(net, tmp_path, FAST)
    assert f"gave 300000 bytes with SHA-1 {found}, expected {net.weights.sha1}" in str(caught.value)  # type: ignore[union-attr]
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("net.caffemodel*"))
    server.files["net.caffemodel"] = WEIGHTS
    assert fetch(net, tmp_path, FAST)["weights"].read_bytes() == WEIGHTS


def test_the_next_source_is_tried(net: Net, tmp_path: Path, server: Server) -> None:
    assert isinstance(net.weights, Download)
    sources = (server.url + "nowhere/", "http://127.0.0.1:9/", server.url)
    paths = fetch(replace(net, weights=replace(net.weights, sources=sources)), tmp_path, FAST)
    assert paths["weights"].read_bytes() == WEIGHTS


def test_base_url_takes_the_place_of_the_sources(net: Net, tmp_path: Path, server: Server) -> None:
    assert isinstance(net.weights, Download)
    elsewhere = replace(net, weights=replace(net.weights, sources=("http://127.0.0.1:9/",)))
    paths = fetch(elsewhere, tmp_path, replace(FAST, base_url=server.url.rstrip("/")))
    assert paths["weights"].read_bytes() == WEIGHTS
    with pytest.raises(FetchError, match="only http:// and https:// addresses"):
        fetch(net, tmp_path / "x", replace(FAST, base_url="file:///etc"))
    with pytest.raises(FetchError, match=r"aux.tar.gz: .*answered 404"):
        fetch(net, tmp_path / "x", replace(FAST, base_url=server.url + "nowhere"))


def test_local_files_come_first(net: Net, tmp_path: Path, server: Server) -> None:
    for name, data in (
        ("mine.bin", WEIGHTS),
        ("imagenet_mean.binaryproto", BINARYPROTO),
        ("synset_words.txt", LABELS),
    ):
        (tmp_path / name).write_bytes(data)
    local = tuple(tmp_path / name for name in ("mine.bin", "imagenet_mean.binaryproto", "synset_words.txt"))
    paths = fetch(net, tmp_path / "to", replace(FAST, local=local))
    assert server.asked == []
    assert paths["weights"].read_bytes() == WEIGHTS  # found by its SHA-1
    assert local[0].exists()
    (tmp_path / "net.caffemodel").write_bytes(b"other")
    with pytest.raises(FetchError, match=r"net.caffemodel: 5 bytes with SHA-1"):
        fetch(net, tmp_path / "two", replace(FAST, local=(*local[1:], tmp_path / "net.caffemodel")))
    (tmp_path / "stranger.bin").write_bytes(b"other")
    with pytest.raises(FetchError, match=r"stranger.bin: a file of .* by neither name .* nor SHA-1"):
        fetch(net, tmp_path / "three", replace(FAST, local=(tmp_path / "stranger.bin",)))
    assert server.asked == []


BAD_ARCHIVES = {
    "cut": (ARCHIVE[:-5000], "a damaged archive"),
    "no archive": (b"<html>not found</html>", "a damaged archive"),
    "wrong mean": (tar({"imagenet_mean.binaryproto": BINARYPROTO[:-4] + b"\0\0\0\0"}), "not ILSVRC 2012's"),
    "wrong labels": (tar({"synset_words.txt": LABELS[:-30]}), "999 lines, not ILSVRC 2012's thousand labels"),
    "incomplete": (tar({"synset_words.txt": LABELS}), "an archive without imagenet_mean.binaryproto"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_bad_archives_are_refused(net: Net, tmp_path: Path, server: Server, case: str) -> None:
    server.files["aux.tar.gz"], expected = BAD_ARCHIVES[case]
    with pytest.raises(FetchError, match=expected):
        fetch(net, tmp_path, FAST)
    assert not list(tmp_path.glob("*.part"))


def test_archives_cannot_write_elsewhere(tmp_path: Path) -> None:
    """Members with paths, links and devices: the name that was asked for is all that is made."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, kind in (
            ("../wanted", tarfile.SYMTYPE),
            ("/etc/wanted", tarfile.LNKTYPE),
            ("wanted", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("../../deep/wanted")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"good"))
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "t.tar.gz").write_bytes(out.getvalue())
    unpack(tmp_path / "t.tar.gz", {"wanted": lambda path: None}, folder)
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {"t.tar.gz", "a/b/wanted"}
    assert (folder / "wanted").read_bytes() == b"good"


@pytest.mark.parametrize(
    ("member", "size", "expected"),
    [("wanted", 2**26 + 1, "has 67108865 bytes"), ("other", 2**27, "unpacks to more than 128 MiB")],
)
def test_bombs_are_refused(tmp_path: Path, member: str, size: int, expected: str) -> None:
    info = tarfile.TarInfo(member)
    info.size = size
    with gzip.open(tmp_path / "bomb.tar.gz", "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(size // 2**22):
            file.write(bytes(2**22))
    with pytest.raises(FetchError, match=expected):
        unpack(tmp_path / "bomb.tar.gz", {"wanted": lambda path: None}, tmp_path)


def test_what_ships_needs_no_network(tmp_path: Path) -> None:
    paths = fetch(zoo.find("caffenet-mini"), tmp_path)
    assert (
        hashlib.sha1(paths["weights"].read_bytes()).hexdigest() == "bd54455a9fdc67aa9fcdf4bd977d5f6ae2c1ef41"
    )
    assert len(paths["labels"].read_text().splitlines()) == 200
    layers = open_caffemodel(paths["weights"]).layers
    assert sum(blob.count for layer in layers for blob in layer.blobs if blob) == 1_112_904


def test_the_zoo_as_published() -> None:
    """Figures from BVLC's readme files."""
    caffenet = zoo.find("caffenet").weights
    alexnet = zoo.find("alexnet").weights
    assert isinstance(caffenet, Download)
    assert isinstance(alexnet, Download)
    assert caffenet.sha1 == "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46"
    assert alexnet.sha1 == "9116a64c0fbe4459d18f4bb6b56d647b63920377"
    assert caffenet.sources[0] + caffenet.name == (
        "http://dl.caffe.berkeleyvision.org/bvlc_reference_caffenet.caffemodel"
    )
    blobs = zoo.find("caffenet").blobs
    assert list(blobs) == ["CONV1", "CONV2", "CONV3", "CONV4", "CONV5", "FC6", "FC7", "FC8"]
    assert list(blobs.values()) == ["norm1", "norm2", "conv3", "conv4", "pool5", "fc6", "fc7", "fc8"]
    with pytest.raises(ConversionError, match="no net 'vgg' is published here; known are caffenet, alexnet"):
        zoo.find("vgg")
