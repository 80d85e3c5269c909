"""What the page of ``decoders demo --web`` is written from: models, encoders, the runtime; no browser needed."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import export
from caffe_port.pictures import list_images
from decoders import cli
from decoders.demo import PICTURES
from decoders.representations import representation
from export.web import runtime as runtime_files
from export.web.encoders import write_encoder
from export.web.runtime import FILES, read_runtime
from export.web.site import WebModel, write_site
from tests.photos import draw


def test_representations_without_a_graph_are_left_out(small: Path, tmp_path: Path) -> None:
    hog = WebModel("hog", small, representation("hog"), export.load(small).card)
    sift = WebModel("sift", hog.path, representation("sift"), hog.card)
    empty = dict.fromkeys(FILES, b"")
    left_out = write_site([sift, hog], list_images([PICTURES])[:1], empty, tmp_path)
    assert list(left_out) == ["sift"]
    assert left_out["sift"].startswith("sift: not on the page: sift is not computed by a graph")
    assert (tmp_path / "data" / "hog-decoder.js").is_file()
    with pytest.raises(ValueError, match="no decoder for the page; sift"):
        write_site([sift], [], empty, tmp_path)


def test_an_encoder_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    hog = representation("hog")
    monkeypatch.setattr(
        type(hog), "extract", lambda _, images: np.ones((len(images), 31, 32, 32), np.float32)
    )
    with pytest.raises(ValueError, match=r"hog of a picture of .* differs in the graph by"):
        write_encoder([hog], [draw(0)])


def test_a_runtime_that_is_not_there_or_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="holds no npm package onnxruntime-web; install Node"):
        read_runtime(str(tmp_path))
    (tmp_path / "x.tgz").write_bytes(b"\x1f\x8bnot a tar")
    with pytest.raises(ValueError, match=r"x\.tgz: not the \.tgz of onnxruntime-web"):
        read_runtime(str(tmp_path / "x.tgz"))
    dist = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    for name in FILES:
        (dist / name).write_bytes(b"another version")
    with pytest.raises(ValueError, match=r"is not that of onnxruntime-web 1\.[0-9.]+ \(SHA-256\)"):
        read_runtime(str(tmp_path))
    monkeypatch.setattr(runtime_files.shutil, "which", lambda _: None)
    with pytest.raises(FileNotFoundError, match="and neither is npm; install Node"):
        read_runtime("npm")


def test_the_command_writes_the_page_of_what_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_files, "read_runtime", lambda _: dict.fromkeys(FILES, b""))
    monkeypatch.setattr(cli, "shipped_models", lambda: ["hog"])
    done = CliRunner().invoke(cli.main, ["demo", "--web", str(tmp_path / "page"), "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["models"] == ["hog"]
    assert Path(found["page"]).read_text(encoding="utf-8").count('class="thumb"') == 6
