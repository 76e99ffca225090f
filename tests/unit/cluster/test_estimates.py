import json
from pathlib import Path

import pytest
import yaml

from msdiff.cluster.estimates import START_SECONDS, estimate, peak_tflops, scale_of, table

TRAINING = {"steps": 1000, "batch_size": 64}
NETWORK = {"channels": [128, 128, 256]}


def generator(job, training=None, network=None, gpus="1", model="a100"):
    settings = {
        "generator": "long_ms_diff",
        "network": NETWORK | (network or {}),
        "training": TRAINING | (training or {}),
    }
    return job(
        "train_generator",
        settings=settings,
        resources={"gpu": gpus, "gpu_model": model},
        options={"checkpoints": ("checkpoints",)},
        wildcards={"generator": "long_ms_diff"},
    )


def work_hours(planned, *others):
    """Hours of a job without the start of its process."""
    return estimate(planned, scale_of([planned, *others])).hours - START_SECONDS / 3600


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        ({"training": {"steps": 2000}}, 2),
        ({"training": {"batch_size": 32}}, 1 / 2),
        ({"network": {"channels": [64, 64, 128]}}, 1 / 4),
        ({"gpus": "4"}, 1 / 4),
        ({"model": "h100"}, 312 / 989),
    ],
)
def test_a_training_takes_what_its_settings_ask_for(job, change, factor):
    assert work_hours(generator(job, **change)) == pytest.approx(factor * work_hours(generator(job)))


def test_paper_scale_training_takes_about_the_hours_of_the_paper(job):
    """72 A100 hours (Long-MS-Diff, 2025) are 81,000 to 217,000 steps of 64 at 30 to 80 TFLOP/s; ours are 150,000."""
    assert 60 < work_hours(generator(job, {"steps": 150_000})) < 100


def test_paper_scale_sampling_is_149_pflop(job):
    """15,000 samples in 20 steps, at 16 % of an A100's 312 TFLOP/s, in 50 shards."""
    sampler = {"steps": 20, "guidance_weight": 0.0}
    shard = job(
        "draw_samples",
        settings=sampler,
        resources={"gpu": "1", "gpu_model": "a100"},
        options={"shard": ("003",), "shards": ("50",)},
        wildcards={"generator": "long_ms_diff", "purpose": "mass"},
    )
    plan = job("plan_samples", settings={"mass": {"count": 15_000}, "held_out": {"slices_per_pair": 16}})
    hours = work_hours(shard, plan)
    assert 50 * hours * 3600 * 0.16 * 312e12 == pytest.approx(149e15, rel=0.01)
    fewer = plan._replace(options={"settings": ('{"mass": {"count": 7500}}',)})
    assert work_hours(shard, fewer) == pytest.approx(hours / 2)
    guided = job(
        "draw_samples",
        settings=sampler | {"guidance_weight": 2.0},
        resources=shard.resources,
        options={"shard": ("003",), "shards": ("50",)},
        wildcards=shard.wildcards,
    )
    assert work_hours(guided, plan) == pytest.approx(2 * hours)


def test_imaging_takes_by_images_and_voxels(job):
    def register(sessions, contrasts, shape):
        rows = json.dumps([dict.fromkeys(contrasts, "x")] * sessions)
        settings = {"grid": {"shape": shape}, "registration": {"backend": "greedy", "options": {}}}
        return job("register", settings=settings, options={"patient": (rows,), "contrasts": tuple(contrasts)})

    pair = work_hours(register(2, ["flair"], [256, 256, 60]))
    assert work_hours(register(3, ["flair", "t1w"], [256, 256, 60])) == pytest.approx(3 * pair)
    assert work_hours(register(2, ["flair"], [128, 128, 60])) == pytest.approx(pair / 4)
    # Steps after registration are told nothing of the images: they follow the registrations of the same run.
    normalise = job("normalise", settings={"backend": "percentile"})
    both = [work_hours(normalise, register(sessions, ["flair"], [256, 256, 60])) for sessions in (2, 4)]
    assert both[1] == pytest.approx(2 * both[0])


def test_a_slower_backend_takes_longer(job):
    def batch(backend, patients):
        return job("parcellate", settings={"backend": backend}, options={"normalised": ("folder",) * patients})

    assert work_hours(batch("samseg", 20)) == pytest.approx(655 / 8 * work_hours(batch("synthseg", 20)))
    assert work_hours(batch("synthseg", 40)) == pytest.approx(2 * work_hours(batch("synthseg", 20)))


def test_test_patients_may_be_a_share(job):
    detect = job("detect_lesions", settings={"threshold": 0.5}, wildcards={"architecture": "unet"})
    splits = [job("pair_scans", settings={"split": {"test": test}}) for test in (34, 0.2)]
    assert work_hours(detect, splits[0]) == pytest.approx(work_hours(detect, splits[1]))


def test_the_config_given_to_provenance_fills_what_no_command_tells(job):
    config = {
        "study": "own",
        "cohort": {"own": {"split": {"test": 60}}},
        "preprocess": {"grid": {"shape": [128, 128, 60]}},
        "synthesis": {
            "generators": ["g"],
            "g": {"generator": "g", "network": {"channels": [32]}},
            "plan": {"mass": {"count": 99}, "held_out": {"slices_per_pair": 2}},
        },
    }
    scale = scale_of([job("provenance", options={"config": (json.dumps(config),)})])
    assert (scale.shape, scale.test_patients) == ((128, 128, 60), 60)
    assert scale.samples == {"mass": 99, "held_out": 120}
    assert scale.widths == {"g": 32}


def test_an_unknown_rule_counts_with_its_time_limit(job):
    planned = job("train_something", resources={"runtime": "90"})
    found = estimate(planned, scale_of([planned]))
    assert (found.hours, found.source) == (1.5, "no estimate: its time limit")


def test_every_line_of_the_table_says_that_it_is_stated():
    assert all(line["source"].startswith("stated: ") for line in table())


@pytest.mark.parametrize(("model", "peak"), [("a100", 312), ("A100-SXM4-40GB", 312), ("nvidia_h100", 989), (None, 312)])
def test_peak_of_a_type_as_clusters_write_it(model, peak):
    assert peak_tflops(model) == peak


def test_operations_of_the_table_are_those_of_the_config_s_networks():
    """One slice of 256 x 256 forward, counted on the networks themselves; a training does three times as much."""
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from msdiff.networks.conditional_unet import ConditionalUNet, ConditionalUNetSettings
    from msdiff.networks.detectors import build
    from msdiff.settings import check

    config = yaml.safe_load((Path(__file__).parents[3] / "config.yaml").read_text())
    lines = {(line["rule"], line["variant"]): line for line in table()}

    def counted(network, *inputs):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(*inputs)
        return counter.get_total_flops() / 1e9

    with torch.device("meta"):
        image = torch.zeros(1, 1, 256, 256)
        sizes = config["synthesis"]["long_ms_diff"]["network"]
        # Of the second channel out the learned variance is made.
        generator = ConditionalUNet(check(ConditionalUNetSettings, sizes | {"in_channels": 6, "out_channels": 2}))
        work = counted(generator, image, torch.zeros(1), torch.zeros(1, 5, 256, 256))
        assert float(lines["draw_samples", "long_ms_diff"]["gflop"]) == pytest.approx(work, rel=0.01)
        assert float(lines["train_generator", "long_ms_diff"]["gflop"]) == pytest.approx(3 * work, rel=0.01)
        assert float(lines["train_generator", "long_ms_diff"]["width"]) == sizes["channels"][0]
        for name, detector in config["segmentation"]["detectors"].items():
            work = counted(build(name, detector["network"]), image, image)
            assert float(lines["detect_lesions", name]["gflop"]) == pytest.approx(work, rel=0.01)
            assert float(lines["train_detector", name]["gflop"]) == pytest.approx(3 * work, rel=0.01)
            assert float(lines["train_detector", name]["width"]) == detector["network"]["widths"][0]
