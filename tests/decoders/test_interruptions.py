"""Runs that are killed, stopped, and continued by one process or several, to the weights of an uninterrupted one."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch

from decoders import checkpoints
from decoders.lock import locked
from tests.decoders.launch import PATIENCE_S, launch

STEPS = 24
OPTIONS = (
    *("--width", 0.125, "--steps", STEPS, "--batch", 4, "--image-size", 64, "--warmup", 3),
    *("--val-fraction", 0.2, "--val-images", 3, "--workers", 1, "--checkpoint-every", 2, "--quiet"),
)


def state(folder: Path) -> dict[str, bytes]:
    """Every tensor of a checkpoint, bit by bit."""
    tensors = safetensors.torch.load_file(folder / checkpoints.STATE)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def step_of(folder: Path) -> int:
    try:
        return checkpoints.load_state(folder).step
    except FileNotFoundError:
        return 0


def start_or_resume(folder: Path, photos: Path) -> tuple[object, ...]:
    """The words that go on with a run wherever it stands: one killed before its first checkpoint starts anew."""
    if (folder / checkpoints.STATE).exists():
        return ("train", "--out", folder, "--resume", "--quiet")
    shutil.rmtree(folder, ignore_errors=True)
    return ("train", "hog", "--images", photos, "--out", folder, *OPTIONS)


@pytest.fixture(scope="module", params=[1, 2])
def count(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def whole(count: int, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ``count`` processes that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / f"by-{count}"
    running = launch(start_or_resume(folder, photos), folder.with_suffix(".txt"), count=count)
    assert running.wait() == [0] * count, running.output.read_text()
    return folder


def being_written(folder: Path, name: str) -> Callable[[], bool]:
    return lambda: folder.is_dir() and any(entry.startswith(f".{name}.") for entry in os.listdir(folder))


def after(seconds: float, folder: Path) -> Callable[[], bool]:
    """So long after the first checkpoint was there."""
    began: list[float] = []

    def instant() -> bool:
        if not began and (folder / checkpoints.STATE).exists():
            began.append(time.monotonic())
        return bool(began) and time.monotonic() - began[0] >= seconds

    return instant


def test_kill_9_at_any_instant_loses_nothing(count: int, whole: Path, photos: Path, tmp_path: Path) -> None:
    """Also while a checkpoint is being written: what is half written then is never taken for one."""
    folder, killed, torn = tmp_path / "run", 0, 0
    delays = random.Random(count)
    for attempt in range(8):
        instants = (
            being_written(folder, checkpoints.STATE),
            after(delays.uniform(0, 0.3), folder),
            being_written(folder, checkpoints.MODEL),
        )
        running = launch(start_or_resume(folder, photos), tmp_path / "said.txt", count=count)
        if not running.kill_when(instants[attempt % 3]):
            break
        killed += 1
        torn += len(list(folder.glob(".*.part")))
        if killed >= 4 and torn:
            break
    assert killed >= 3
    assert torn, "no kill came while a file was written"
    running = launch(start_or_resume(folder, photos), tmp_path / "said.txt", count=count)
    assert running.wait() == [0] * count, running.output.read_text()
    assert state(folder) == state(whole)
    assert not list(folder.glob(".*.part"))
    steps = [json.loads(line)["step"] for line in (folder / checkpoints.LOG).read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == STEPS


def test_another_number_of_processes_goes_on_with_the_same_samples(
    count: int, whole: Path, photos: Path, tmp_path: Path
) -> None:
    """The sums are rounded otherwise, no more: after a third of the run by one number, the rest by the other."""
    folder, other = tmp_path / "run", 3 - count
    running = launch(start_or_resume(folder, photos), tmp_path / "said.txt", count=count)
    running.kill_when(lambda: step_of(folder) >= STEPS // 3)
    running = launch(start_or_resume(folder, photos), tmp_path / "said.txt", count=other)
    assert running.wait() == [0] * other, running.output.read_text()
    ours, theirs = (safetensors.torch.load_file(run / checkpoints.MODEL) for run in (folder, whole))
    for name, tensor in theirs.items():
        assert (ours[name] - tensor).norm() <= 0.02 * tensor.norm(), name


def test_ctrl_c_in_one_process_stops_all_at_the_same_step(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    running = launch(start_or_resume(folder, photos), tmp_path / "said.txt", count=2)
    while step_of(folder) == 0 and running.running():
        time.sleep(0.01)
    os.kill(running.processes[1].pid or 0, signal.SIGINT)
    assert running.wait() == [130, 130], running.output.read_text()
    stopped = step_of(folder)
    assert 0 < stopped < STEPS
    assert running.output.read_text() == (
        f"{folder}: stopped at step {stopped} of {STEPS}; continue with --resume\n"
    )


def test_what_is_wrong_is_said_by_the_first_process_alone(photos: Path, tmp_path: Path) -> None:
    words = ("train", "hog", "--images", photos, "--out", tmp_path / "run", *OPTIONS, "--batch", 1000)
    running = launch(words, tmp_path / "said.txt", count=2)
    assert running.wait() == [2, 2]
    first, second = sorted(running.output.read_text().splitlines())
    assert "fewer than a batch of 1000" in first + second
    assert "another process of this run ended" in first + second
    assert not (tmp_path / "run").exists()


def test_two_processes_never_write_one_run(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    running = launch(start_or_resume(folder, photos), tmp_path / "said.txt")
    running.kill_when(lambda: step_of(folder) > 0)
    before = state(folder)
    with locked(folder):
        refused = launch(start_or_resume(folder, photos), tmp_path / "refused.txt")
        assert refused.wait() == [2]
    assert "another process is training this run" in refused.output.read_text()
    assert len(refused.output.read_text().splitlines()) == 1
    assert state(folder) == before


@pytest.mark.parametrize("count", [2], indirect=True)
def test_workers_that_outlive_torchrun_stop(whole: Path, count: int, photos: Path, tmp_path: Path) -> None:
    """torchrun dies by signal 9; its workers see it and stop with a checkpoint, from which the run goes on."""
    folder = tmp_path / "run"
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    decoders = ["--no-python", str(Path(sys.executable).with_name("decoders"))]
    words = [str(word) for word in (*runner, *decoders, *start_or_resume(folder, photos))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as torchrun:
        deadline = time.monotonic() + PATIENCE_S
        while step_of(folder) == 0 and torchrun.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        torchrun.kill()
        said = torchrun.communicate(timeout=PATIENCE_S)[0]  # until the workers have closed it, too
    stopped = step_of(folder)
    assert 0 < stopped < STEPS, said
    assert f"stopped at step {stopped}" in said
    running = launch(start_or_resume(folder, photos), tmp_path / "said.txt", count=count)
    assert running.wait() == [0] * count, running.output.read_text()
    assert state(folder) == state(whole)
