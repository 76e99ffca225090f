import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from msdiff import training
from msdiff.errors import BadInput, BadSettings, OutOfTime, StaleCheckpoint
from msdiff.networks.weights import load_weights
from msdiff.settings import check
from msdiff.training import progress

SETTINGS = {
    "steps": 6,
    "batch_size": 4,
    "micro_batches": 1,
    "learning_rate": 0.01,
    "weight_decay": 0.01,
    "warm_up_steps": 2,
    "decay": "cosine",
    "ema_decay": 0.9,
    "clip_norm": 1.0,
    "precision": "fp32",
    "log_every": 2,
    "checkpoint_every": 1,
    "validate_every": 0,
    "keep": "last",
}


def settings(**changes):
    return check(training.TrainingSettings, SETTINGS | changes)


class Denoise:
    """A tiny task with every source of chance: sampler, augmentation, noise and dropout."""

    def __init__(self, pause_s=0.0):
        self.modules = training.initialised(
            lambda: nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 1, 1)
            ),
            7,
        )
        self.images = torch.from_numpy(np.random.default_rng(1).normal(size=(10, 1, 6, 6)).astype(np.float32))
        self.indices = np.arange(10)
        self.weights = np.ones(10)
        self.pause_s = pause_s
        self.scores = iter(())

    def batch(self, indices, generator):
        images = self.images[torch.from_numpy(indices)]
        return {"image": images.flip(-1) if generator.random() < 0.5 else images}

    def loss(self, batch, generator):
        time.sleep(self.pause_s)
        noise = torch.randn(batch["image"].shape, generator=generator)
        error = ((self.modules(batch["image"] + noise) - batch["image"]) ** 2).mean()
        return {"loss": error, "error": error.detach()}

    def validate(self):
        assert not self.modules.training
        return {"score": next(self.scores), "other": 1.0}


class Duel(Denoise):
    """A generator and a critic of it, each with an optimiser, noise, dropout and a running mean of its own."""

    def __init__(self, pause_s=0.0):
        super().__init__(pause_s)
        self.modules = training.initialised(
            lambda: nn.ModuleDict(
                {
                    "generator": nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)),
                    "critic": nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 1, 1)),
                }
            ),
            7,
        )
        generator, critic = self.modules.values()
        self.players = {
            "critic": training.Player(critic, self.critic_loss, rate=2.0, betas=(0.5, 0.999)),
            "generator": training.Player(generator, self.generator_loss),
        }

    def critic_loss(self, batch, generator):
        time.sleep(self.pause_s)
        with torch.no_grad():
            fake = self.fake(batch, generator)
        real, made = (self.modules["critic"](image) for image in (batch["image"], fake))
        return {"loss": nn.functional.softplus(-real).mean() + nn.functional.softplus(made).mean()}

    def generator_loss(self, batch, generator):
        made = self.modules["critic"](self.fake(batch, generator))
        return {"loss": nn.functional.softplus(-made).mean(), "opinion": made.mean()}

    def fake(self, batch, generator):
        return self.modules["generator"](torch.randn(batch["image"].shape, generator=generator))


def run(folder, task=None, changes=(), **arguments):
    arguments = {
        "seed": 3,
        "minutes": None,
        "identity": {"network": "tiny"},
        "device": "cpu",
        "description": {},
    } | arguments
    return training.train(task or Denoise(), settings(**dict(changes)), checkpoints=folder, **arguments)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def without_time(history):
    return history.drop(columns=["seconds", "samples_per_second"])


PROGRAMME = textwrap.dedent(
    """
    import importlib.util, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("test_training", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from msdiff.networks.weights import save_weights
    folder, pause_s = Path(sys.argv[2]), float(sys.argv[3])
    try:
        trained = module.run(folder / "checkpoints", getattr(module, sys.argv[4])(pause_s))
    except module.OutOfTime:
        sys.exit(75)
    save_weights(trained.tensors, {"kind": "tiny"}, folder / "weights.safetensors")
    trained.history.to_csv(folder / "history.csv", index=False)
    """
)


def start(folder, pause_s, task):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", PROGRAMME, __file__, str(folder), str(pause_s), task])


def wait_for_step(folder, step):
    deadline = time.monotonic() + 300
    while not list(folder.glob(f"checkpoints/*/step-{step:09d}.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("task", ["Denoise", "Duel"])
def test_killed_and_stopped_trainings_continue_bit_for_bit(tmp_path, task):
    whole = start(tmp_path / "whole", 0, task)
    killed = start(tmp_path / "killed", 0.3, task)
    stopped = start(tmp_path / "stopped", 1.0, task)
    wait_for_step(tmp_path / "killed", 3)
    killed.send_signal(signal.SIGKILL)
    wait_for_step(tmp_path / "stopped", 2)
    stopped.send_signal(signal.SIGTERM)
    assert whole.wait() == 0
    assert killed.wait() == -signal.SIGKILL
    assert stopped.wait() == 75
    assert not (tmp_path / "killed/weights.safetensors").exists()
    again = [start(tmp_path / name, 0, task) for name in ("killed", "stopped")]
    assert [process.wait() for process in again] == [0, 0]
    expected = (tmp_path / "whole/weights.safetensors").read_bytes()
    for name in ("killed", "stopped"):
        assert (tmp_path / name / "weights.safetensors").read_bytes() == expected
        history = without_time(pd.read_csv(tmp_path / name / "history.csv"))
        pd.testing.assert_frame_equal(history, without_time(pd.read_csv(tmp_path / "whole/history.csv")))
    assert load_weights(tmp_path / "whole/weights.safetensors")[1] == {"kind": "tiny"}


def test_a_finished_training_is_read_again(tmp_path):
    first = run(tmp_path)
    task = Denoise()
    task.loss = None
    second = run(tmp_path, task)
    assert same(first.tensors, second.tensors)
    assert first.history.equals(second.history)
    assert list(first.history["step"]) == [2, 4, 6]


def test_history_columns_and_two_checkpoints(tmp_path):
    history = run(tmp_path).history
    assert list(history) == [
        "step", "loss", "error", "gradient_norm", "learning_rate", "seconds", "samples_per_second",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["step-000000005.pt", "step-000000006.pt"]


def test_an_unreadable_checkpoint_gives_way_to_the_one_before(tmp_path):
    expected = run(tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "step-000000006.pt").write_bytes(b"half")
    (folder / ".999999.step-000000007.pt").write_bytes(b"leaving")
    assert same(run(tmp_path).tensors, expected.tensors)
    assert not (folder / ".999999.step-000000007.pt").exists()


@pytest.mark.parametrize(
    ("changes", "arguments", "word"),
    [
        ({"learning_rate": 0.02}, {}, "learning_rate 0.01 instead of 0.02"),
        ({}, {"seed": 4}, "seed 3 instead of 4"),
        ({}, {"identity": {"network": "other"}}, "another network"),
    ],
)
def test_checkpoints_of_another_training_are_never_continued(tmp_path, changes, arguments, word):
    first = run(tmp_path)
    (former,) = tmp_path.iterdir()
    expected = run(tmp_path / "alone", changes=changes, **arguments)
    assert same(run(tmp_path, changes=changes, **arguments).tensors, expected.tensors)
    # Changed back, it goes on where it was.
    assert same(run(tmp_path).tensors, first.tensors)
    (own,) = (folder for folder in tmp_path.iterdir() if folder.name not in (former.name, "alone"))
    shutil.rmtree(own)
    former.rename(own)
    with pytest.raises(StaleCheckpoint, match=word):
        run(tmp_path, changes=changes, **arguments)


def test_stops_before_its_time_limit_and_continues(tmp_path):
    with pytest.raises(OutOfTime, match="before its time limit"):
        run(tmp_path, Denoise(0.2), minutes=0.5 / 60)
    done = torch.load(max(tmp_path.glob("*/*.pt")), weights_only=True)["step"]
    assert 0 < done < 6
    assert same(run(tmp_path).tensors, run(tmp_path / "whole").tensors)


def test_sigusr1_stops_and_the_handler_is_put_back(tmp_path):
    task = Denoise()
    plain = task.loss

    def loss(batch, generator):
        os.kill(os.getpid(), signal.SIGUSR1)
        return plain(batch, generator)

    task.loss = loss
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(OutOfTime, match=r"step 1 of 6.*SIGUSR1"):
        run(tmp_path, task)
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_loss_that_is_not_finite_is_an_error_and_never_a_checkpoint(tmp_path):
    task = Denoise()
    plain = task.loss
    task.loss = lambda batch, generator: {"loss": plain(batch, generator)["loss"] * float("nan")}
    with pytest.raises(BadSettings, match="finite losses, got NaN or Inf in loss"):
        run(tmp_path, task)
    assert not list(tmp_path.iterdir())


def test_the_best_weights_are_kept_when_asked(tmp_path):
    task = Denoise()
    task.scores = iter([0.1, 0.9, 0.5])
    changes = {"validate_every": 2, "keep": "best"}
    best = run(tmp_path / "best", task, changes)
    at_four = torch.load(max(tmp_path.glob("best/*/*.pt")), weights_only=True)["best"]
    assert list(best.history["validation_score"]) == [0.1, 0.9, 0.5]
    assert same(best.tensors, at_four)
    assert not same(best.tensors, run(tmp_path / "last").tensors)


def test_nothing_to_choose_from_is_bad_input():
    with pytest.raises(BadInput, match="training list"):
        training.BatchSampler(np.array([], dtype=int), np.array([]), 4, 0)
    with pytest.raises(BadInput, match="training list"):
        training.BatchSampler(np.arange(3), np.zeros(3), 4, 0)


def test_sampler_follows_weights_seed_and_step():
    indices, weights = np.array([10, 11, 12, 13]), np.array([1.0, 0.0, 3.0, 4.0])
    sampler = training.BatchSampler(indices, weights, 8, 5)
    chosen = np.concatenate([sampler.choose(step) for step in range(500)])
    assert np.isin(chosen, [10, 12, 13]).all()
    shares = [(chosen == index).mean() for index in indices]
    np.testing.assert_allclose(shares, weights / 8, atol=0.01)
    assert np.array_equal(sampler.choose(3), training.BatchSampler(indices, weights, 8, 5).choose(3))
    assert not np.array_equal(sampler.choose(3), sampler.choose(4))
    assert not np.array_equal(sampler.choose(3), training.BatchSampler(indices, weights, 8, 6).choose(3))


def test_weights_give_positive_items_their_share():
    weights = training.with_share(np.array([True, False, False, False]), 0.4)
    np.testing.assert_allclose(weights, [0.4, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(training.with_share(np.array([True, True]), 0.4), [0.2, 0.2])


def test_learning_rate_warms_up_and_decays():
    chosen = settings(steps=10, warm_up_steps=4, learning_rate=1.0)
    assert [training.learning_rate(chosen, step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert training.learning_rate(chosen, 7) == pytest.approx(0.5)
    linear = settings(steps=10, warm_up_steps=0, learning_rate=1.0, decay="linear")
    assert training.learning_rate(linear, 5) == pytest.approx(0.5)
    assert training.learning_rate(settings(decay="none", learning_rate=1.0), 5) == 1.0


def test_ema_averages_weights_and_copies_counters():
    ema = {"weight": torch.tensor([1.0]), "batches": torch.tensor(1)}
    training.average(ema, {"weight": torch.tensor([2.0]), "batches": torch.tensor(9)}, 0.75)
    assert ema["weight"].item() == pytest.approx(1.25)
    assert ema["batches"].item() == 9


def test_training_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    run(tmp_path)
    assert torch.equal(torch.rand(3), expected)


class Counting(nn.Module):
    """A weight, and buffers: a running mean of the data, a count of calls, and a constant."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.tensor(10.0))
        self.register_buffer("calls", torch.tensor(5))
        self.register_buffer("constant", torch.tensor(0.1))

    def forward(self, values):
        self.mean += 0.5 * (values.mean() - self.mean)
        self.calls += 1
        return ((self.weight - values) ** 2).mean()


def test_each_part_starts_from_the_buffers_of_the_step_and_their_mean_is_kept(tmp_path):
    task = Denoise()
    task.modules = Counting()
    task.batch = lambda indices, generator: {"value": torch.from_numpy(indices).float()}
    task.loss = lambda batch, generator: {"loss": task.modules(batch["value"])}
    run(tmp_path, task, {"steps": 1, "batch_size": 5, "micro_batches": 3})
    chosen = training.BatchSampler(task.indices, task.weights, 5, 3).choose(0)
    parts = [chosen[:2], chosen[2:4], chosen[4:]]
    expected = sum(len(part) / 5 * (10 + 0.5 * (part.mean() - 10)) for part in parts)
    assert task.modules.mean.item() == pytest.approx(expected)
    assert task.modules.calls.item() == 6
    assert torch.equal(task.modules.constant, torch.tensor(0.1))


@pytest.mark.parametrize(
    ("between_rows", "of_silence", "steps"),
    [(1e9, 1e9, [6]), (0.0, 1e9, [2, 4, 6]), (0.0, 0.0, [1, 2, 3, 4, 5, 6])],
)
def test_the_log_tells_of_progress(tmp_path, caplog, monkeypatch, between_rows, of_silence, steps):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_ROWS", between_rows)
    monkeypatch.setattr(progress, "SECONDS_OF_SILENCE", of_silence)
    caplog.set_level("INFO")
    history = run(tmp_path).history
    assert list(history["step"]) == [2, 4, 6]
    line = r"step (\d) of 6: loss [\d.]+, error [\d.]+, gradient_norm [\d.]+, [\d.]+ samples/s, \d+ s left"
    told = [re.fullmatch(line, record.getMessage()) for record in caplog.records if "samples/s" in record.getMessage()]
    assert [int(match[1]) for match in told if match] == steps


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.9, "1 min"), (18630, "5 h 10 min"), (360000, "100 h 0 min")]
)
def test_durations_are_for_people(seconds, text):
    assert training.duration(seconds) == text


def test_bf16_runs(tmp_path):
    assert np.isfinite(run(tmp_path, changes={"precision": "bf16"}).history["loss"]).all()


def test_a_batch_in_parts_gives_the_same_gradients(tmp_path):
    def task():
        made = Denoise()
        made.modules = training.initialised(lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)), 7)
        made.batch = lambda indices, generator: {"image": made.images[torch.from_numpy(indices)]}
        made.loss = lambda batch, generator: {"loss": ((made.modules(batch["image"]) - batch["image"]) ** 2).mean()}
        return made

    whole, parts = (run(tmp_path / str(n), task(), {"micro_batches": n}) for n in (1, 3))
    np.testing.assert_allclose(whole.history["loss"], parts.history["loss"], rtol=1e-5)
    for name, tensor in whole.tensors.items():
        torch.testing.assert_close(tensor, parts.tensors[name], rtol=1e-4, atol=1e-6)


def test_previews_see_the_average_and_change_nothing(tmp_path):
    task, seen = Denoise(), []

    def show(folder, step):
        assert not task.modules.training
        assert not torch.is_grad_enabled()
        seen.append({name: tensor.clone() for name, tensor in task.modules.state_dict().items()})
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"step-{step}").write_text(str(torch.rand(1).item()))
        return {"error": float(step)}

    trained = run(tmp_path / "seen", task, previews=training.Previews(4, show))
    unseen = run(tmp_path / "unseen")
    assert same(trained.tensors, unseen.tensors)
    assert same(seen[-1], trained.tensors)
    assert not same(seen[0], trained.tensors)
    assert sorted(path.name for path in trained.previews.iterdir()) == ["step-4", "step-6"]
    assert trained.history["preview_error"].dropna().tolist() == [4.0, 6.0]
    shared = list(unseen.history)
    pd.testing.assert_frame_equal(without_time(trained.history[shared]), without_time(unseen.history))


def test_a_resumed_training_has_the_previews_of_an_uninterrupted_one(tmp_path):
    def train(folder, minutes=None):
        task = Denoise()

        def show(folder, step):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"step-{step}").write_text(str(float(task.modules[0].weight.sum())))
            return {"error": float(task.modules[0].weight.sum())}

        return run(folder, task, minutes=minutes, previews=training.Previews(1, show))

    whole = train(tmp_path / "whole")
    with pytest.raises(OutOfTime):
        train(tmp_path / "parts", minutes=1e-6)
    parts = train(tmp_path / "parts")
    assert same(whole.tensors, parts.tensors)
    assert len(list(whole.previews.iterdir())) == 6
    for picture in whole.previews.iterdir():
        assert (parts.previews / picture.name).read_text() == picture.read_text()
    pd.testing.assert_frame_equal(without_time(whole.history), without_time(parts.history))


class TestGame:
    """A task with several optimisers."""

    def test_scalars_bear_their_players_name(self, tmp_path):
        trained = run(tmp_path, Duel())
        assert [name for name in trained.history if name.startswith(("critic", "generator"))] == [
            "critic_loss", "critic_gradient_norm", "generator_loss", "generator_opinion", "generator_gradient_norm",
        ]  # fmt: skip
        assert {name.partition(".")[0] for name in trained.tensors} == {"generator", "critic"}
        both = trained.history["critic_loss"] + trained.history["generator_loss"]
        np.testing.assert_allclose(trained.history["loss"], both)

    @pytest.mark.parametrize("resting", ["critic", "generator"])
    def test_an_optimiser_changes_its_own_player_alone(self, tmp_path, resting):
        task, before = Duel(), Duel().modules
        task.players[resting] = task.players[resting]._replace(rate=0.0)
        run(tmp_path, task, {"weight_decay": 0.0})
        for name, module in task.modules.items():
            alike = [
                torch.equal(now, then) for now, then in zip(module.parameters(), before[name].parameters(), strict=True)
            ]
            assert all(alike) if name == resting else not any(alike)

    def test_the_first_player_trains_as_a_task_with_one_optimiser_would(self, tmp_path):
        alone, among = Duel(), Duel()
        players = alone.players
        del alone.players
        alone.loss = players["critic"].loss
        among.players["critic"] = training.Player(among.modules["critic"], among.critic_loss)
        among.players["generator"] = among.players["generator"]._replace(rate=0.0)
        changes = {"weight_decay": 0.0, "clip_norm": 1e9}
        single, game = run(tmp_path / "alone", alone, changes), run(tmp_path / "among", among, changes)
        np.testing.assert_array_equal(single.history["loss"], game.history["critic_loss"])
        assert all(torch.equal(single.tensors[name], game.tensors[name]) for name in single.tensors if "critic" in name)

    def test_players_see_one_batch_and_noise_of_their_own(self, tmp_path):
        task, seen = Duel(), []
        for name, player in task.players.items():

            def watched(batch, generator, loss=player.loss):
                seen.append((batch["image"], torch.rand(1, generator=generator.clone_state())))
                return loss(batch, generator)

            task.players[name] = player._replace(loss=watched)
        run(tmp_path, task, {"steps": 1})
        (first, noise), (second, other) = seen
        assert torch.equal(first, second)
        assert not torch.equal(noise, other)

    def test_a_batch_in_parts_gives_the_same_gradients(self, tmp_path):
        def task():
            made = Duel()
            made.modules["generator"][1], made.modules["critic"][1] = nn.Identity(), nn.Identity()
            made.batch = lambda indices, generator: {"image": made.images[torch.from_numpy(indices)]}
            made.fake = lambda batch, generator: made.modules["generator"](batch["image"])
            return made

        whole, parts = (run(tmp_path / str(n), task(), {"micro_batches": n}) for n in (1, 3))
        for name, tensor in whole.tensors.items():
            torch.testing.assert_close(tensor, parts.tensors[name], rtol=1e-3, atol=1e-5)


class Plain(Denoise):
    """A task whose network may be compiled."""

    compiled = None

    @property
    def network(self):
        return self.modules

    def loss(self, batch, generator):
        noise = torch.randn(batch["image"].shape, generator=generator)
        call = self.compiled or self.network
        return {"loss": ((call(batch["image"] + noise) - batch["image"]) ** 2).mean()}


def test_a_network_is_compiled_before_the_first_step_which_changes_nothing(tmp_path, monkeypatch):
    calls, task = [], Plain()
    monkeypatch.setattr(
        torch, "compile", lambda forward, **options: lambda *inputs: calls.append(1) or forward(*inputs)
    )
    fast = run(tmp_path / "fast", task, compile_when="always")
    # One trial, and the steps.
    assert len(calls) == 1 + 6
    assert same(fast.tensors, run(tmp_path / "plain", Plain()).tensors)
    calls.clear()
    run(tmp_path / "fast", Plain(), compile_when="always")
    assert not calls


def test_where_the_compiler_fails_the_training_goes_on_without(tmp_path, monkeypatch, caplog):
    def broken(forward, **options):
        def call(*inputs):
            raise RuntimeError("no compiler")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    trained = run(tmp_path / "fast", Plain(), compile_when="always")
    assert "cannot compile the network, which goes on without (no compiler)" in caplog.text
    assert same(trained.tensors, run(tmp_path / "plain", Plain()).tensors)


def test_the_description_is_given_back(tmp_path):
    assert run(tmp_path, description={"kind": "tiny"}).description == {"kind": "tiny"}
