import json

import pytest

from msdiff.cluster.estimates import START_SECONDS, estimate, peak_tflops, scale_of, table
from msdiff.config_files import merged_config

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
        "sample_images",
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
        "sample_images",
        settings=sampler | {"guidance_weight": 2.0},
        resources=shard.resources,
        options={"shard": ("003",), "shards": ("50",)},
        wildcards=shard.wildcards,
    )
    assert work_hours(guided, plan) == pytest.approx(2 * hours)


def test_imaging_takes_by_images_and_voxels(job):
    def register(sessions, contrasts, shape):
        rows = json.dumps([{"subject": "sub-1"} | dict.fromkeys(contrasts, "x")] * sessions)
        settings = {"grid": {"shape": shape}, "registration": {"backend": "greedy", "options": {}}}
        return job("register", settings=settings, options={"patients": (rows,), "contrasts": tuple(contrasts)})

    pair = work_hours(register(2, ["flair"], [256, 256, 60]))
    assert work_hours(register(3, ["flair", "t1w"], [256, 256, 60])) == pytest.approx(3 * pair)
    assert work_hours(register(2, ["flair"], [128, 128, 60])) == pytest.approx(pair / 4)
    # Steps after registration are told nothing of the images: they follow the registrations of the same run.
    one, two = (
        job("normalise", settings={"backend": "percentile"}, options={"corrected": ("sub-1", "sub-2")[:patients]})
        for patients in (1, 2)
    )
    both = [work_hours(one, register(sessions, ["flair"], [256, 256, 60])) for sessions in (2, 4)]
    assert both[1] == pytest.approx(2 * both[0])
    assert work_hours(two, register(2, ["flair"], [256, 256, 60])) == pytest.approx(2 * both[0])


def test_a_slower_backend_takes_longer(job):
    def batch(backend, patients):
        return job("parcellate", settings={"backend": backend}, options={"normalised": ("folder",) * patients})

    assert work_hours(batch("samseg", 20)) == pytest.approx(655 / 8 * work_hours(batch("synthseg", 20)))
    assert work_hours(batch("synthseg", 40)) == pytest.approx(2 * work_hours(batch("synthseg", 20)))


def choice(split):
    """The settings of assign_fold for a cohort's own split."""
    return {"backend": "split", "options": split}


def test_test_patients_may_be_a_share(job):
    detect = job("detect_lesions", settings={"threshold": 0.5}, wildcards={"architecture": "unet"})
    splits = [job("assign_fold", settings=choice({"test": test})) for test in (34, 0.2)]
    assert work_hours(detect, splits[0]) == pytest.approx(work_hours(detect, splits[1]))


def forecasts(job, shards, scored=False, **changes):
    """A shard of the paper-scale counterfactuals, or what reads them all out."""
    draws = {"split": "test", "arms": "all", "draws": 20, "patients": None} | changes
    settings = {"draws": draws, "sampler": {"steps": 50, "guidance_weight": 1.0}}
    wildcards = {"cohort": "trials", "purpose": "counterfactuals"}
    rule, options = (
        ("score_forecasts", {}) if scored else ("sample_forecasts", {"shard": ("000",), "shards": (shards,)})
    )
    return job(rule, settings=settings, options=options, wildcards=wildcards, resources={"gpu": "01"[not scored]})


def trials(job, patients=2130):
    """A cohort that is simulated on the common grid, in batches of ten."""
    phantom = {"phantom": {"sessions": ["w000", "w048", "w096"]}, "grid": {"shape": [256, 256, 60]}}
    options = {"subjects": ("sub",) * 10, "contrasts": ("flair",)}
    batch = job("simulate_aligned", settings=phantom, options=options, wildcards={"cohort": "trials"})
    split = choice({"train": 0.8, "validation": 0.1, "test": 0.1})
    return [batch] * (patients // 10) + [job("assign_fold", settings=split, wildcards={"cohort": "trials"})]


def test_paper_scale_counterfactuals_are_1_8_exaflop(job):
    """213 patients under six arms, 20 draws of 50 guided steps each, at 16 % of an A100's 312 TFLOP/s, in 48 shards."""
    hours = work_hours(forecasts(job, "48"), *trials(job))
    assert 48 * hours * 3600 * 0.16 * 312e12 == pytest.approx(213 * 6 * 20 * 50 * 2 * 714e9, rel=0.01)
    assert work_hours(forecasts(job, "24"), *trials(job)) == pytest.approx(2 * hours)
    assert work_hours(forecasts(job, "48", arms="own"), *trials(job)) == pytest.approx(hours / 6)
    assert work_hours(forecasts(job, "48", patients=71), *trials(job)) == pytest.approx(hours / 3)


def test_what_reads_forecasts_out_takes_by_their_draws(job):
    shard, scoring = forecasts(job, "48"), forecasts(job, "48", scored=True)
    hours = work_hours(scoring, shard, *trials(job))
    assert work_hours(scoring, shard, *trials(job, patients=1000)) == pytest.approx(hours * 1000 / 2130)


def test_two_cohorts_are_sized_apart(job):
    """Splits, patients and images of one say nothing of the other."""
    rows = json.dumps([{"subject": "sub-1", "flair": "x", "t1w": "x"}] * 2)
    options = {"patients": (rows,), "contrasts": ("flair", "t1w")}
    register = job("register", options=options, wildcards={"cohort": "phantom"})
    split = job("assign_fold", settings=choice({"test": 30}), wildcards={"cohort": "phantom"})
    scale = scale_of([register, split, *trials(job)])
    assert (scale.cohorts["phantom"].images, scale.cohorts["phantom"].sets["test"]) == (4, 30)
    assert (scale.cohorts["trials"].images, scale.cohorts["trials"].patients) == (3, 2130)
    assert scale.cohorts["trials"].sets == pytest.approx({"train": 1704, "validation": 213, "test": 213})
    stacks = [
        job("stack_scans", wildcards={"cohort": name}, options={"contrasts": ("flair",)})
        for name in scale.cohorts
        if name
    ]
    small, large = sorted(estimate(stack, scale).hours - START_SECONDS / 3600 for stack in stacks)
    assert large == pytest.approx(small * 2130 * 3 / 4)


def test_two_cohorts_may_have_two_grids(job):
    def normalise(cohort):
        return job("normalise", settings={"backend": "percentile"}, wildcards={"cohort": cohort})

    grid = {"grid": {"shape": [128, 128, 60]}, "registration": {"backend": "greedy", "options": {}}}
    options = {"patients": (json.dumps([{"subject": "sub-1", "flair": "x"}] * 3),), "contrasts": ("flair",)}
    register = job("register", settings=grid, options=options, wildcards={"cohort": "phantom"})
    hours = [work_hours(normalise(cohort), register, *trials(job)) for cohort in ("phantom", "trials")]
    assert hours[1] == pytest.approx(4 * hours[0])


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
    assert (scale.cohorts[""].shape, scale.cohorts[""].sets["test"]) == ((128, 128, 60), 60)
    assert (scale.mass, scale.slices_per_pair) == (99, 2)
    assert scale.widths == {"g": 32}


def test_every_table_goes_by_one_line(job):
    planned = job("some_table", outputs=("results/tables/some_table.csv",))
    assert estimate(planned, scale_of([planned])).source.startswith("stated: a minute")


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
    from msdiff.networks.pseudo_2d import Pseudo2DControlNet, Pseudo2DSettings, Pseudo2DUNet, SlabSizes
    from msdiff.settings import check

    config = merged_config(size="paper")
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
        assert float(lines["sample_images", "long_ms_diff"]["gflop"]) == pytest.approx(work, rel=0.01)
        assert float(lines["train_generator", "long_ms_diff"]["gflop"]) == pytest.approx(3 * work, rel=0.01)
        assert float(lines["train_generator", "long_ms_diff"]["width"]) == sizes["channels"][0]
        sizes = config["forecasting"]["network"]["favero_589m"]
        slab, arm, images = (
            torch.zeros(1, 1, 15, 256, 256),
            torch.zeros(1, dtype=torch.long),
            torch.zeros(1, 7, 15, 256, 256),
        )
        unet, control = (
            kind(check(Pseudo2DSettings, sizes), SlabSizes(15, 1, 7, 6)) for kind in (Pseudo2DUNet, Pseudo2DControlNet)
        )
        embedded = control.embed(images)
        work = counted(unet, slab, torch.zeros(1), arm)
        assert float(lines["train_prior", ""]["gflop"]) == pytest.approx(3 * work, rel=0.01)
        work += counted(control, slab, torch.zeros(1), arm, embedded)
        assert float(lines["sample_forecasts", ""]["gflop"]) == pytest.approx(work, rel=0.01)
        assert float(lines["sample_forecasts", ""]["width"]) == sizes["channels"][0]
        for name, detector in config["detection"]["detectors"].items():
            work = counted(build(name, detector["network"]), image, image)
            assert float(lines["detect_lesions", name]["gflop"]) == pytest.approx(work, rel=0.01)
            assert float(lines["train_detector", name]["gflop"]) == pytest.approx(3 * work, rel=0.01)
            assert float(lines["train_detector", name]["width"]) == detector["network"]["widths"][0]
