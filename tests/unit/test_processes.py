"""Trainings in several processes: the functions, and a programme (this file) that trains as a command does."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from msdiff import processes, training
from msdiff.errors import BadInput, BadSettings, MsdiffError, OutOfTime
from msdiff.settings import check
from msdiff.training import progress

PARTS = 4
SETTINGS = {
    **{"steps": 6, "batch_size": 8, "micro_batches": PARTS, "learning_rate": 0.01, "weight_decay": 0.01},
    **{"warm_up_steps": 2, "decay": "cosine", "ema_decay": 0.9, "clip_norm": 1.0, "precision": "fp32"},
    **{"log_every": 2, "checkpoint_every": 1, "validate_every": 3, "keep": "best"},
}


class Branches(nn.Module):
    """Parameters that every part uses, that some do, and that none does."""

    def __init__(self):
        super().__init__()
        self.common = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.either = nn.ModuleList(nn.Conv2d(4, 1, 1) for _ in range(2))
        self.neither = nn.Parameter(torch.ones(3))


class Denoise:
    """A tiny task with every source of chance; `fault` is what happens to the second process."""

    def __init__(self, pause_s=0.0, fault=None):
        self.modules = training.initialised(Branches, 7)
        self.images = torch.from_numpy(np.random.default_rng(1).normal(size=(10, 1, 6, 6)).astype(np.float32))
        self.indices, self.weights = np.arange(10), np.ones(10)
        self.pause_s, self.fault, self.losses = pause_s, fault, 0

    def batch(self, indices, generator):
        images = self.images[torch.from_numpy(indices)]
        branch = torch.full((len(indices),), int(generator.integers(2)))
        return {"image": images.flip(-1) if generator.random() < 0.5 else images, "branch": branch}

    def loss(self, batch, generator):
        time.sleep(self.pause_s)
        self.losses += 1
        if self.fault is not None and processes.rank() == 1 and self.losses == 1:
            self.fault()
        image, branch = batch["image"], int(batch["branch"][0])
        noise = torch.randn(image.shape, generator=generator)
        estimate = self.modules.either[branch](self.modules.common(image + noise))
        return {"loss": ((estimate - image) ** 2).mean(), "branch": torch.tensor(float(branch))}

    def validate(self):
        return {"score": -float(self.modules.either[0].weight.norm())}


class Duel(Denoise):
    """Two optimisers: one for the common layers, one for the branches."""

    @property
    def players(self):
        modules = self.modules
        return {
            "common": training.Player(modules.common, self.loss),
            "either": training.Player(modules.either, self.loss, rate=0.5),
        }


def bad_input():
    raise BadInput("expected a whole slice, got half")


def bug():
    raise ZeroDivisionError("as it happens")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


TASKS = {"denoise": Denoise, "duel": Duel}
FAULTS = {"none": None, "bad_input": bad_input, "bug": bug, "die": die}


def look(folder, step):
    folder.mkdir(exist_ok=True)
    (folder / f"step-{step}_process-{processes.rank()}").touch()
    return {}


def train(folder, task=None, device="cpu", **changes):
    settings = check(training.TrainingSettings, SETTINGS | changes)
    return training.train(
        task or Denoise(), settings, seed=3, checkpoints=folder, minutes=None, identity="tiny", device=device,
        description={}, previews=training.Previews(3, look),
    )  # fmt: skip


def work(arguments):
    torch.set_num_threads(1)
    task = TASKS[arguments.task](arguments.pause_s, FAULTS[arguments.fault])
    device = "cpu" if arguments.on == "cpu" else training.processor(arguments.threads)
    trained = train(arguments.folder / "checkpoints", task, device)
    if processes.rank() == 0:
        torch.save(trained.tensors, arguments.folder / "weights.pt")
        trained.history.to_csv(arguments.folder / "history.csv", index=False)


def programme():
    """As msdiff.__main__ does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--pause-s", type=float)
    parser.add_argument("--fault")
    parser.add_argument("--on")
    parser.add_argument("--task")
    arguments = argparse.Namespace(**vars(parser.parse_args()), processes=2, threads=2)
    try:
        processes.in_processes(work, arguments, PARTS)
    except MsdiffError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except OutOfTime:
        sys.exit(75)


if __name__ == "__main__":
    programme()


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(folder, pause_s=0.0, fault="none", on="cpu", by=(), task="denoise"):
    folder.mkdir(exist_ok=True)
    options = ["--folder", str(folder), "--pause-s", str(pause_s), "--fault", fault, "--on", on, "--task", task]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if on == "cpu" else {}
    return subprocess.Popen(
        [sys.executable, *by, __file__, *options], stderr=subprocess.PIPE, text=True, env=os.environ | hidden
    )


def finish(process):
    """What it said on stderr, of what is no log, and its exit code."""
    _, said = process.communicate(timeout=300)
    return [line for line in said.splitlines() if not re.match(r"\d\d:\d\d:\d\d msdiff", line)], process.returncode


def wait_for_step(folder, step):
    deadline = time.monotonic() + 300
    while not list(folder.glob(f"checkpoints/*/step-{step:09d}.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def results(folder):
    history = pd.read_csv(folder / "history.csv").drop(columns=["seconds", "samples_per_second"])
    return torch.load(folder / "weights.pt", weights_only=True), history


def assert_alike(tensors, expected):
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on_after_a_signal(tmp_path):
    stopped = start(tmp_path / "stopped", pause_s=0.15)
    whole = train(tmp_path / "whole")
    wait_for_step(tmp_path / "stopped", 2)
    stopped.send_signal(signal.SIGTERM)
    assert finish(stopped) == ([], 75)
    done = max(int(path.stem[5:]) for path in tmp_path.glob("stopped/checkpoints/*/*.pt"))
    assert 2 <= done < 6
    shutil.copytree(tmp_path / "stopped/checkpoints", tmp_path / "alone")

    others = [start(tmp_path / "undisturbed"), start(tmp_path / "stopped"), start(tmp_path / "torchrun", by=TORCHRUN)]
    assert [finish(process)[1] for process in others] == [0, 0, 0]
    tensors, history = results(tmp_path / "undisturbed")
    assert list(history["step"]) == [2, 3, 4, 6]
    pictures = [path.name for path in tmp_path.glob("undisturbed/checkpoints/*/previews/*")]
    assert sorted(pictures) == ["step-3_process-0", "step-6_process-0"]
    assert_alike(tensors, whole.tensors)
    pd.testing.assert_frame_equal(history, whole.history[list(history)], rtol=1e-4)
    # Two go on as if nothing had been, bit for bit; so does one with what two have begun, within rounding.
    resumed, history_resumed = results(tmp_path / "stopped")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in resumed.items())
    by_torchrun, _ = results(tmp_path / "torchrun")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in by_torchrun.items())
    pd.testing.assert_frame_equal(history_resumed, history)
    assert_alike(train(tmp_path / "alone").tensors, whole.tensors)


@pytest.mark.slow
def test_two_processes_train_several_optimisers_as_one_and_go_on_after_a_signal(tmp_path):
    stopped = start(tmp_path / "stopped", pause_s=0.15, task="duel")
    whole = train(tmp_path / "whole", Duel())
    wait_for_step(tmp_path / "stopped", 2)
    stopped.send_signal(signal.SIGTERM)
    assert finish(stopped) == ([], 75)
    others = [start(tmp_path / name, task="duel") for name in ("undisturbed", "stopped")]
    assert [finish(process)[1] for process in others] == [0, 0]
    tensors, history = results(tmp_path / "undisturbed")
    assert {"common_loss", "either_loss"} <= set(history)
    assert_alike(tensors, whole.tensors)
    resumed, history_resumed = results(tmp_path / "stopped")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in resumed.items())
    pd.testing.assert_frame_equal(history_resumed, history)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code", "lines", "says"),
    [
        ("bad_input", 2, 1, "error: expected a whole slice, got half"),
        ("die", 2, 1, "error: process 1 of 2 was ended by SIGKILL"),
        ("bug", 1, None, "ZeroDivisionError: as it happens"),
    ],
)
def test_what_ends_one_process_ends_all(tmp_path, fault, code, lines, says):
    said, returned = finish(start(tmp_path, fault=fault))
    assert returned == code
    assert any(says in line for line in said)
    assert lines in (None, len(said))


@pytest.mark.slow
def test_the_processes_end_with_who_started_them(tmp_path):
    parent = start(tmp_path, pause_s=1.0)
    wait_for_step(tmp_path, 1)
    parent.kill()
    # Until all that write to it are gone.
    parent.communicate(timeout=300)
    assert not list(tmp_path.glob("checkpoints/*/step-000000006.pt"))


@pytest.mark.parametrize(
    ("answer", "reason"), [([0, 0], None), ([0, 1], "before its time limit"), ([signal.SIGUSR1, 1], "on SIGUSR1")]
)
def test_what_stops_one_process_stops_all(monkeypatch, answer, reason):
    watch = progress.Watch(minutes=None)
    monkeypatch.setattr(processes, "highest", lambda numbers: [int(number) for number in answer])
    assert watch.reason() == reason


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two accelerators")
def test_two_accelerators_train_as_one(tmp_path):
    assert finish(start(tmp_path / "two", on="accelerator")) == ([], 0)
    assert_alike(results(tmp_path / "two")[0], train(tmp_path / "one", device="cuda").tensors)


@pytest.mark.parametrize(
    ("parts", "wanted", "accelerators", "number"),
    [
        (4, 0, 0, 1), (4, 0, 1, 1), (4, 0, 4, 4), (4, 0, 3, 2), (4, 0, 8, 4), (6, 0, 4, 3), (1, 0, 4, 1), (5, 0, 4, 1),
        (4, 2, 0, 2), (4, 3, 0, 2), (4, 1, 4, 1), (4, 2, 4, 2),
    ],
)  # fmt: skip
def test_processes_are_as_many_as_share_the_parts_evenly(monkeypatch, caplog, parts, wanted, accelerators, number):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: accelerators)
    assert processes.share(parts, wanted) == number
    possible = wanted or max(1, accelerators)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (number < possible)
    assert all(f"{number} of {possible} possible processes" in line for line in told)


@pytest.mark.parametrize(("wanted", "accelerators"), [(-1, 0), (-1, 2), (3, 2)])
def test_more_processes_than_accelerators_are_bad_input(monkeypatch, wanted, accelerators):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: accelerators)
    with pytest.raises(BadInput, match="--processes"):
        processes.share(4, wanted)


def test_a_process_alone_works_here_and_has_nobody_to_ask():
    called = []
    processes.in_processes(called.append, argparse.Namespace(processes=1), 4)
    assert called == [argparse.Namespace(processes=1)]
    assert (processes.rank(), processes.size(), processes.highest([3, 1])) == (0, 1, [3, 1])
    tensors = [torch.ones(2), torch.tensor(3.0)]
    processes.add_up(tensors)
    assert [tensor.tolist() for tensor in tensors] == [[1.0, 1.0], 3.0]


def test_parts_that_cannot_be_shared_evenly_are_bad_settings(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "size", lambda: 3)
    with pytest.raises(BadSettings, match="divides the 4 parts of a batch, got 3"):
        train(tmp_path)
