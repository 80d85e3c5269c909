"""Sessions: devices chosen openly, streams in batches, many threads, no growth of memory, no heavy imports."""

import gc
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import export
from decoders.model import Decoder
from decoders.representations import representation
from decoders.rows import DecoderSpec, conv
from export.card import CARD_FIELD
from export.graphs import GRAPHS, Subject
from export.model_file import sealed
from export.providers import PROVIDERS
from export.to_onnx import ExportOptions
from tests.export.conftest import write

ROOT = Path(__file__).parents[2]
CALLS = 10_000


def features(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 31, 8, 8), dtype=np.float32) * np.float32(0.3)


def test_the_device_is_chosen_openly(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = export.load(small)
    assert decoder.provider.asked == "auto"
    assert decoder.provider.got in PROVIDERS
    assert "the first of cuda, cpu" in decoder.provider.why
    assert export.load(small, device="cpu").provider.why == "as asked"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.warns(RuntimeWarning, match="on the CPU instead of cuda: this ONNX Runtime has no CUDA"):
        fallen = export.load(small, device="cuda")
    assert (fallen.provider.asked, fallen.provider.got) == ("cuda", "cpu")
    assert "has no CUDAExecutionProvider; install caffe-port[gpu]" in fallen.provider.why
    assert np.array_equal(fallen(features(2)), decoder(features(2)))
    with pytest.raises(ValueError, match="device is 'tensorrt', but this ONNX Runtime has no Tensorrt"):
        export.load(small, device="tensorrt", strict_device=True)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_told_apart(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    present = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an ONNX Runtime without CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: present)
    with pytest.warns(RuntimeWarning):
        decoder = export.load(small, device="auto")
    assert "could not start CUDAExecutionProvider" in decoder.provider.why


def test_unknown_devices_and_threads_are_refused(small: Path) -> None:
    with pytest.raises(ValueError, match="device is 'tpu'; it must be one of auto, cpu, cuda, tensorrt"):
        export.load(small, device="tpu")
    with pytest.raises(ValueError, match="threads is -1"):
        export.load(small, threads=-1)
    with pytest.raises(ValueError, match=r"a decoder, no Caffe net; open it with export\.load"):
        export.load_net(small)


def test_a_stream_is_decoded_in_batches_of_one_shape(small: Path) -> None:
    decoder = export.load(small, threads=1)
    items = [*features(5), *np.repeat(features(2, seed=1), 2, axis=2), *features(1, seed=2)]
    expected = [decoder(item[None])[0] for item in items]
    for batch in (1, 2, 16):
        found = list(decoder.map(iter(items), batch=batch))
        assert [picture.shape for picture in found] == [picture.shape for picture in expected]
        assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(found, expected, strict=True))
    assert list(decoder.map([])) == []
    with pytest.raises(ValueError, match="batch is 0"):
        next(decoder.map(items, batch=0))


def test_a_stream_is_read_no_further_than_a_batch(small: Path) -> None:
    decoder, read = export.load(small, threads=1), []

    def stream() -> Any:
        for item in features(9):
            read.append(1)
            yield item

    pictures = decoder.map(stream(), batch=2)
    next(pictures)
    assert len(read) <= 3


def test_warm_up_decodes_zeros(small: Path) -> None:
    export.load(small, threads=1).warm_up(batch=2)


def test_images_are_rounded_in_the_graph(small: Path) -> None:
    decoder = export.load(small, threads=1)
    pictures = decoder.pictures(features(3))
    assert pictures.dtype == np.float32
    assert np.array_equal(decoder(features(3)), np.rint(pictures).astype(np.uint8).transpose(0, 2, 3, 1))


def test_eight_threads_share_a_session(small: Path) -> None:
    decoder = export.load(small, threads=1)
    given = [features(1 + seed % 3, seed) for seed in range(8)]
    expected = [decoder(each) for each in given]
    wrong: list[int] = []

    def work(first: int) -> None:
        for turn in range(25):
            place = (first + turn) % len(given)
            if not np.array_equal(decoder(given[place]), expected[place]):
                wrong.append(place)

    workers = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_memory_does_not_grow(card: dict[str, Any], tmp_path: Path) -> None:
    """The least growth of several rounds: a leak of 100 bytes a call would show in each."""
    running = export.load(tiny_file(card, tmp_path / "tiny.onnx"), threads=1)
    given, rounds = np.zeros((1, 31, 2, 2), np.float32), 5
    growth = []
    for _ in range(rounds):
        gc.collect()
        before = resident()
        for _ in range(CALLS // rounds):
            running(given)
        gc.collect()
        growth.append(resident() - before)
    assert min(growth) < CALLS // rounds * 100


def tiny_file(card: dict[str, Any], path: Path) -> Path:
    """A file of a decoder so small that a call is all overhead."""
    rows = (conv("c", "features", 1, 1, (2, 2), 3),)
    decoder = Decoder(DecoderSpec("hog", (2, 2, 31), rows, "a test", multiple=1), seed=1).eval()
    model = GRAPHS["decoder"].write(Subject(decoder, representation("hog")))
    entries = card | {"feature_shape": [31, 2, 2], "feature_multiple": 1}
    onnx.helper.set_model_props(model, {CARD_FIELD: json.dumps(entries)})
    path.write_bytes(sealed(model.SerializeToString()))
    return path


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_running_imports_neither_torch_nor_onnx(small: Path) -> None:
    code = (
        "import sys, numpy, export\n"
        f"decoder = export.load({str(small)!r})\n"
        "print(decoder(numpy.zeros((1, 31, 8, 8), numpy.float32)).shape)\n"
        "from export.check import check\n"
        f"print(check({str(small)!r})['passed'])\n"
        "print([n for n in ('torch', 'onnx', 'numba', 'cv2', 'decoders', 'kernels') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["(1, 64, 64, 3)", "True", "[]"]


def test_a_pipeline_takes_photographs(decoder: Decoder, card: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "pipeline.onnx"
    made = write(decoder, card, path, ExportOptions(kind="pipeline"))
    assert made["photograph_multiple"] == 64
    pipeline = export.load(path, threads=1)
    photographs = np.random.default_rng(0).integers(0, 256, (2, 64, 128, 3), dtype=np.uint8)
    assert pipeline(photographs).shape == photographs.shape
    with pytest.raises(TypeError, match="photographs are float64; uint8 RGB is taken"):
        pipeline(photographs / 2)
    with pytest.raises(ValueError, match=r"takes \(N, H, W, 3\) with H and W multiples of 64"):
        pipeline(photographs[:, :60])
    with pytest.raises(ValueError, match=r"takes \(N, H, W, 3\)"):
        pipeline(photographs[0])
