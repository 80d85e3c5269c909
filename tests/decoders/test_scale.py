"""A step in parts, in bfloat16, compiled; fixed crops and their features on disk; what is refused, and full disks."""

import dataclasses
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_port.pictures import list_images
from decoders import checkpoints
from decoders.config import TrainConfig
from decoders.data import Samples, shares
from decoders.feature_cache import SUFFIX, FeatureCache, cached
from decoders.model import Decoder
from decoders.optimisation import Optimisation
from decoders.processes import Processes, choose_device
from decoders.representations import KERNELS, representation
from decoders.specs import FC6
from decoders.training import train
from tests.decoders.launch import CONTEXT, launch
from tests.photos import draw, fill

MINI = FC6.scaled(1 / 64)
CPU = torch.device("cpu")


def gradients(parts: int, **settings: object) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of the same eight samples, computed in so many parts."""
    decoder = Decoder(MINI, seed=1)
    numbers = torch.Generator().manual_seed(2)
    features, targets = (
        torch.randn(8, *shape, generator=numbers) for shape in (MINI.feature_shape, (3, *MINI.image_size))
    )
    optimisation = Optimisation(decoder, CPU, clip=1e9, **settings)  # type: ignore[arg-type]
    cut = [slice(part.start, part.stop) for part in shares(range(8), parts)]
    loss, norm = optimisation.gradient(((features[part], targets[part]) for part in cut), 8)
    found = {name: p.grad.clone() for name, p in decoder.named_parameters() if p.grad is not None}
    assert norm == pytest.approx(float(torch.stack([g.norm() for g in found.values()]).norm()), rel=1e-4)
    return loss, found


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(parts: int) -> None:
    """Three parts of eight samples are of unequal size."""
    (loss, whole), (loss_in_parts, in_parts) = gradients(1), gradients(parts)
    assert loss_in_parts == pytest.approx(loss, rel=1e-5)
    for name, gradient in whole.items():
        assert (in_parts[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def test_another_layout_computes_the_same() -> None:
    (loss, one), (other_loss, other) = gradients(1), gradients(1, channels_last=True)
    assert other_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in one.items():
        assert (other[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_bf16_is_near_fp32_and_keeps_float32_weights() -> None:
    """bfloat16 has 8 bits: products are off by up to 2^-8 each."""
    (loss, whole), (rough_loss, rough) = gradients(1), gradients(1, precision="bf16")
    assert loss != rough_loss == pytest.approx(loss, rel=0.02)
    for name, gradient in whole.items():
        assert rough[name].dtype == torch.float32
        assert (rough[name] - gradient).norm() <= 0.1 * gradient.norm(), name


def test_compiling_is_refused_where_there_is_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, "/nonexistent"))
    monkeypatch.setattr(config, "compile_threads", 1)
    monkeypatch.setattr(config, "force_disable_caches", True)
    with pytest.raises(ValueError, match="compile is set, but torch cannot compile here") as caught:
        gradients(1, compiled=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("batch", "count"), [(64, 1), (64, 3), (7, 7)])
def test_shares_cover_a_batch_in_order(batch: int, count: int) -> None:
    parts = shares(range(batch, 2 * batch), count)
    assert [position for part in parts for position in part] == list(range(batch, 2 * batch))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    second = Processes(rank=1, count=2, local_rank=1, local_count=2)
    assert choose_device("auto", second) == torch.device("cuda:1")
    assert choose_device("cpu", second) == CPU
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="device is 'cuda:0' for 2 processes and 2 GPUs"):
        choose_device("cuda:0", second)
    with pytest.raises(ValueError, match="for 3 processes and 2 GPUs"):
        choose_device("cuda", Processes(rank=2, count=3, local_rank=2, local_count=3))


def test_fixed_crops_come_again(photos: Path) -> None:
    hog = representation("hog")
    files = list_images([photos])
    framing = hog.framing.for_training(64, 1.0)
    samples = Samples(files, framing, seed=0, crops=2, cache_bytes=0)
    epochs = []
    for epoch in range(3):
        images = samples.batch(range(epoch * len(files), (epoch + 1) * len(files))).images
        order = samples._draw_order(epoch)
        epochs.append(images[np.argsort(order)])  # by picture
    assert np.array_equal(epochs[0], epochs[2])
    assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.parametrize("name", list(KERNELS))
def test_features_from_disk_equal_computed_ones(name: str, tmp_path: Path) -> None:
    row, side = KERNELS[name], 128
    images = np.stack([draw(seed, side, side) for seed in range(3)]).transpose(0, 3, 1, 2).astype(np.float32)
    expected = row.extract(images)
    for _ in range(2):
        assert cached(row, tmp_path, 2**30).extract(images).tobytes() == expected.tobytes()
    files = sorted(tmp_path.rglob(f"*{SUFFIX}"))
    assert len(files) == 3
    for damage in (b"", files[1].read_bytes()[:-1] + b"\x55", files[1].read_bytes()):
        files[0].write_bytes(damage)
        assert cached(row, tmp_path, 2**30).extract(images).tobytes() == expected.tobytes()


def count_pixels(pictures: np.ndarray) -> np.ndarray:
    return pictures.sum(axis=(1, 2))[:, :, None, None].astype(np.float32)


def test_the_feature_cache_is_bounded_and_may_vanish(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).random((10, 4, 4, 3)).astype(np.float32)
    folder = tmp_path / "cache"
    cache = FeatureCache(folder, 1000, "card")
    features = cache.through(count_pixels)
    for _ in range(2):
        assert np.array_equal(features(pictures), count_pixels(pictures))
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert 0 < used <= 1000
    assert 0 < cache.hits < 10
    assert cache.hits + cache.misses == 20
    again = FeatureCache(folder, 2000, "another card")
    again.through(count_pixels)(pictures)
    assert again.hits == 0
    shutil.rmtree(folder)
    assert np.array_equal(again.through(count_pixels)(pictures), count_pixels(pictures))


def test_a_run_with_a_feature_cache_is_the_run_without(config: TrainConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(config, steps=5, crops=1)
    train(config, tmp_path / "plain", quiet=True)
    config = dataclasses.replace(config, feature_cache=str(tmp_path / "cache"))
    for run in ("first", "second"):
        train(config, tmp_path / run, quiet=True)
        for name, value in checkpoints.load_state(tmp_path / "plain").tensors.items():
            assert torch.equal(checkpoints.load_state(tmp_path / run).tensors[name], value), name


def test_two_processes_share_a_feature_cache(tmp_path: Path) -> None:
    processes = [CONTEXT.Process(target=fill_cache, args=(tmp_path / "cache",)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list((tmp_path / "cache").rglob("*.*"))) == 40


def fill_cache(folder: Path) -> None:
    pictures = np.random.default_rng(0).random((40, 4, 4, 3)).astype(np.float32)
    for _ in range(5):
        features = FeatureCache(folder, 2**30, "card").through(count_pixels)(pictures)
        assert np.array_equal(features, count_pixels(pictures))


def test_fewer_pictures_than_a_batch_are_refused(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="17 pictures to train on, fewer than a batch of 18"):
        train(dataclasses.replace(config, batch=18), tmp_path / "run", quiet=True)
    with pytest.raises(ValueError, match="batch is 4; 1 processes of 5 parts"):
        train(dataclasses.replace(config, accumulate=5), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_named_and_loses_nothing(small_disk: Path, photos: Path, tmp_path: Path) -> None:
    """Room for one checkpoint, not for the next beside it; with more room the run goes on."""
    folder = small_disk / "run"
    options = ("--width", 0.03125, "--batch", 4, "--image-size", 64, "--val-images", 2, "--val-fraction", 0.2)
    words = (
        "train",
        "hog",
        "--images",
        photos,
        "--out",
        folder,
        "--steps",
        8,
        "--checkpoint-every",
        3,
        *options,
    )
    running = launch(words, tmp_path / "said.txt")
    assert running.wait() == [2]
    (said,) = running.output.read_text().splitlines()
    assert said.startswith(f"decoders: {folder}/")
    assert said.endswith("No space left on device")
    step = checkpoints.load_state(folder).step
    assert not list(folder.glob(".*.part"))
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    running = launch(("train", "--out", folder, "--resume", "--quiet"), tmp_path / "said.txt")
    assert running.wait() == [0], running.output.read_text()
    assert step < checkpoints.load_state(folder).step == 8


def test_a_file_that_may_not_grow_is_named(config: TrainConfig, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    config = dataclasses.replace(config, steps=4, checkpoint_every=2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            train(config, tmp_path / "run", quiet=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path / "run" / checkpoints.STATE)


def test_an_unreadable_shard_is_named(config: TrainConfig, tmp_path: Path) -> None:
    fill(tmp_path / "photos", 2)
    shard = tmp_path / "photos.tar"
    shutil.make_archive(str(tmp_path / "photos"), "tar", tmp_path / "photos")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:512] + b"\xff" * 4096 + whole[4608:])
    with pytest.raises(ValueError, match=r"photos\.tar: not a readable tar shard"):
        train(dataclasses.replace(config, images=(str(shard),)), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
