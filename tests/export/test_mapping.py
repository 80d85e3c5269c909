"""``python -m export map``: every picture comes out once, whatever is interrupted, and equals what a session gives."""

import io
import json
import os
import shutil
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

import export
from caffe_port.pictures import BadImage
from decoders.images import to_batch, unique_names
from decoders.representations import representation
from export.__main__ import main
from export.mapping import engines
from export.mapping.engines import run_on_ray
from export.mapping.job import Job, Outcome
from export.mapping.run import MapOptions, map_pictures
from export.mapping.shards import Shard, list_shards
from tests.photos import draw, encode, fill


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of five pictures, one of them bad, beside a tar shard of two."""
    folder = fill(tmp_path / "photos", 4)
    (folder / "deep").mkdir()
    (folder / "deep" / "torn.jpg").write_bytes(encode(draw(9), ".jpg")[:300])
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name in ("x/one.png", "x/one.bmp"):
            data = encode(draw(len(name)), Path(name).suffix)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return tmp_path


def type_in(*words: object) -> Result:
    return CliRunner().invoke(main, ["map", *(str(word) for word in words)])


def written(out: Path) -> dict[str, np.ndarray]:
    """Every picture of an output folder, by shard and name; none may come twice."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                name = f"{path.stem}/{member.name}"
                assert name not in found
                bgr = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
                found[name] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return found


def expected(model: Path, picture: np.ndarray) -> np.ndarray:
    """By the kernels and one call of the session."""
    hog = representation("hog")
    framed = hog.framing.centre(picture)
    decoder = export.load(model)
    return decoder(hog.extract(to_batch([framed])) if decoder.takes == "features" else framed[None])[0]


def equal(found: np.ndarray, expected: np.ndarray) -> None:
    """But for rounding: sums of another batch are in another order."""
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["decoder", "pipeline"])
def test_every_picture_comes_out_once(source: Path, small: Path, pipeline: Path, kind: str) -> None:
    model = small if kind == "decoder" else pipeline
    out = source / "out"
    done = type_in(
        model, source / "photos", source / "shard.tar", "--out", out, "--block", 2, "--json", "--threads", 1
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["shards"], found["done_before"], found["pictures"]) == (4, 0, 6)
    (skipped,) = found["skipped"]
    assert "torn.jpg" in skipped
    assert "torn.jpg" in done.stderr
    pictures = written(out)
    assert sorted(pictures) == [
        "pictures-00000/picture-000.png",
        "pictures-00001/picture-001.png",
        "pictures-00001/picture-002.png",
        "pictures-00002/picture-003.png",
        "shard/x/one-2.png",
        "shard/x/one.png",
    ]
    equal(pictures["pictures-00001/picture-002.png"], expected(model, draw(2)))
    equal(pictures["shard/x/one.png"], expected(model, draw(len("x/one.bmp"))))


def test_it_goes_on_where_it_was_interrupted(source: Path, small: Path) -> None:
    out, job = source / "out", Job(small, source / "out", threads=1)
    sources, options = [str(source / "photos"), str(source / "shard.tar")], MapOptions(block=2)

    def interrupted(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
        assert total == 4
        yield next(outcomes)
        yield next(outcomes)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_pictures(job, sources, options, watch=interrupted)
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert len(first) == 2
    assert not list(out.glob(".*.part"))
    found = map_pictures(job, sources, options)
    assert (found["done_before"], found["pictures"], len(found["skipped"])) == (2, 6, 1)
    assert {name: (out / name).stat().st_mtime_ns for name in first} == first
    assert len(written(out)) == 6
    (out / "shard.tar").unlink()
    (source / "photos" / "picture-003.png").write_bytes(encode(draw(3, 80, 80), ".png"))
    found = map_pictures(job, sources, options)
    assert found["done_before"] == 2  # the missing and the changed one are done again
    assert len(written(out)) == 6
    assert map_pictures(job, sources, options)["done_before"] == 4


def test_what_cannot_be_done_is_refused_in_one_line(source: Path, small: Path, pipeline: Path) -> None:
    out = source / "out"
    assert type_in(small, source / "shard.tar", "--out", out).exit_code == 0
    (out / "other").mkdir()
    (out / "other" / "manifest.json").write_text('{"model": []}')
    for words, message in (
        ((pipeline, source / "shard.tar", "--out", out), "the folder is of another model"),
        ((small, source / "shard.tar", "--out", out / "other"), "manifest.json: damaged"),
        ((small, source / "photos", "--out", source / "b", "--strict"), "--strict refuses"),
        ((small, source / "nowhere", "--out", out), "does not exist"),
        ((small, source / "photos", "--out", out, "--block", 0), "it must be at least 1"),
        ((small, source / "photos", "--out", out, "--workers", 3), "give --engine ray"),
        ((source / "gone.onnx", source / "photos", "--out", out), "gone.onnx: no such file"),
    ):
        done = type_in(*words)
        assert done.exit_code == 2, message
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_hostile_names_stay_in_the_tar(source: Path, small: Path) -> None:
    (source / "lists").mkdir()
    names = [f"../photos/picture-00{i}.png" for i in range(2)] + [str(source / "photos" / "picture-002.png")]
    (source / "lists" / "list.txt").write_text("\n".join(names))
    assert type_in(small, source / "lists" / "list.txt", "--out", source / "out").exit_code == 0
    found = sorted(written(source / "out"))
    assert found[:2] == ["pictures-00000/photos/picture-000.png", "pictures-00000/photos/picture-001.png"]
    assert not found[2].startswith("pictures-00000//")
    assert ".." not in found[2]


def test_shard_and_picture_names_are_unique(source: Path) -> None:
    (source / "again").mkdir()
    shutil.copy(source / "shard.tar", source / "again" / "shard.tar")
    shards = list_shards([str(source / "shard.tar"), str(source / "again")], 10)
    assert [shard.name for shard in shards] == ["shard"]  # a folder is searched for pictures, not for shards
    shards = list_shards([str(source / "shard.tar"), str(source / "again" / "shard.tar")], 10)
    assert [shard.name for shard in shards] == ["shard", "shard-2"]
    assert unique_names(["a", "a", "a-2", "a"]) == ["a", "a-2", "a-2-2", "a-3"]


def test_a_shard_that_kills_its_workers_is_given_up(
    small: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying:
        """Loses every worker."""

        def __init__(self, *_: Any) -> None:
            self.busy: dict[Any, Any] = {}
            self.hired = 0

        def hire(self) -> int:
            self.hired += 1
            return self.hired

        def give(self, worker: Any, shard: Shard, attempt: int) -> None:
            self.busy[shard.name] = (worker, shard, attempt)

        def next(self) -> tuple[Any, Shard, int, None]:
            return *self.busy.popitem()[1], None

        def dismiss(self) -> None:
            self.busy.clear()

    pytest.importorskip("ray")
    monkeypatch.setattr(engines, "_Pool", Dying)
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0})
    with pytest.raises(ValueError, match="was given up: it lost 3 workers"):
        list(run_on_ray(Job(small, source), list_shards([str(source / "photos")], 9), 0))


def test_a_worker_of_a_ray_cluster_is_killed_half_way(pipeline: Path, source: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install caffe-port[ray]")
    fill(source / "photos", 18, first=4)
    sources = [str(source / "photos"), str(source / "shard.tar")]
    killed = []

    def kill_the_first(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
        assert total == 13
        for outcome in outcomes:
            if not killed:
                killed.append(outcome.worker)
                os.kill(int(outcome.worker.rpartition(":")[2]), signal.SIGKILL)  # it is at its next shard
            yield outcome

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=2**27,
        log_to_driver=False,
        configure_logging=False,
    )
    try:
        job, options = Job(pipeline, source / "out"), MapOptions(block=2, engine="ray", workers=2)
        found = map_pictures(job, sources, options, watch=kill_the_first)
        strict = Job(pipeline, source / "strict", strict=True)
        with pytest.raises(BadImage, match="--strict refuses"):  # a worker's own error comes through
            map_pictures(strict, [str(source / "photos" / "deep")], options)
    finally:
        ray.shutdown()
    pictures = written(source / "out")
    assert len(pictures) == 24
    assert (found["pictures"], found["shards"], len(found["skipped"])) == (24, 13, 1)
    assert killed[0] in found["workers"]
    assert len(found["workers"]) >= 2
    assert not list((source / "out").glob(".*"))  # what the killed worker had begun
    here = map_pictures(Job(pipeline, source / "here"), sources, MapOptions(block=2))
    assert here["pictures"] == 24
    for name, picture in written(source / "here").items():
        equal(picture, pictures[name])
