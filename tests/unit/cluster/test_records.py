import json

import pytest

from msdiff.cluster.records import counterpart, measured, read_records
from msdiff.errors import BadInput

COLUMNS = ["s", "h:m:s", "max_rss", "jobid", "rule_name", "wildcards", "params", "threads", "resources"]


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty folder of results, and a function that records a job there as Snakemake does."""
    monkeypatch.chdir(tmp_path)

    def record(path, seconds, settings, wildcards=None, resources=None, **params):
        values = [seconds, "0:00:01", "1.0", 0, path.split("/")[0], wildcards or {}]
        values += [params | {"settings": json.dumps(settings)}, 2, resources or {"mem_mb": 1}]
        file = tmp_path / f"results/benchmarks/{path}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\t".join(COLUMNS) + "\n" + "\t".join(map(str, values)) + "\n")

    return record


def known(*jobs):
    return measured(jobs, read_records("results/benchmarks"))


def test_jobs_with_the_same_settings_speak_for_each_other(results, job):
    for subject, seconds in (("sub-1", 3600), ("sub-2", 7200)):
        results(f"register/{subject}", seconds, {"grid": 1}, {"subject": subject})
    planned = job("register", outputs=["results/sub-3"], settings={"grid": 1}, wildcards={"subject": "sub-3"})
    (found,) = known(planned)
    assert (found.hours, found.jobs) == (1.5, 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"settings": {"steps": 20}}, {}),
        ({"resources": {"gpu": "4", "gpu_model": "a100"}}, {}),
        ({"resources": {"gpu": "1", "gpu_model": "h100"}}, {}),
        ({"options": {"shards": ("50",)}}, {}),
        ({"wildcards": {"cohort": "own"}}, {}),
    ],
)
def test_a_job_that_differs_is_not_spoken_for(results, job, change, told):
    results("sample_images", 60, {"steps": 10}, resources={"gpu": 1, "gpu_model": "a100"}, shards=2)
    like = {"settings": {"steps": 10}, "resources": {"gpu": "1", "gpu_model": "a100"}, "options": {"shards": ("2",)}}
    assert known(job("sample_images", **like))[0].jobs == 1
    assert known(job("sample_images", **(like | change))) == [None]


def test_a_step_is_known_only_where_the_steps_before_it_are(results, job):
    """Normalisation has the same settings on small and large images; the registration before it has not."""
    results("register", 60, {"voxels": "few"})
    results("normalise", 1, {"percentile": 99})
    small, large = (
        [
            job("register", outputs=["registered"], settings={"voxels": voxels}),
            job("index", inputs=["registered"], outputs=["index"], benchmark=None),
            job("normalise", inputs=["index"], outputs=["normalised"], settings={"percentile": 99}),
        ]
        for voxels in ("few", "many")
    )
    assert [found is not None for found in known(*small)] == [True, False, True]
    assert known(*large) == [None, None, None]
    # What is registered already is as it will be.
    assert known(small[2])[0].jobs == 1


def test_a_resumed_training_took_as_long_as_its_history_says(results, job, tmp_path):
    results("train", 600, {"steps": 5})
    planned = job("train", outputs=["results/weights", "results/history.csv"], settings={"steps": 5})
    assert known(planned)[0].hours == pytest.approx(1 / 6)
    (tmp_path / "results/history.csv").write_text("step,seconds\n4,3600\n5,7200\n")
    assert known(planned)[0].hours == 2


def test_disk_is_what_the_outputs_and_checkpoints_take(results, job, tmp_path):
    results("train/0", 60, {"steps": 5}, {"seed": "0"})
    (tmp_path / "results/seed-0/checkpoints").mkdir(parents=True)
    (tmp_path / "results/seed-0/weights").write_bytes(bytes(1_000_000))
    (tmp_path / "results/seed-0/checkpoints/5.pt").write_bytes(bytes(3_000_000))
    planned = job(
        "train",
        outputs=["results/seed-1/weights"],
        settings={"steps": 5},
        wildcards={"seed": "1"},
        options={"checkpoints": ("results/seed-1/checkpoints",)},
    )
    assert known(planned)[0].mb == 4


def test_counterpart_changes_each_wildcard_and_nothing_else():
    own = {"cohort": "phantom", "mix": "1-0", "seed": "0"}
    path = "results/phantom/unet/1-0/seed-0/scores0"
    assert counterpart(path, own, {"cohort": "own", "mix": "1-3", "seed": "2"}) == "results/own/unet/1-3/seed-2/scores0"


def test_without_results_nothing_is_known(tmp_path):
    assert read_records(tmp_path / "nowhere") == {}


def test_benchmarks_without_settings_tell_nothing(results, tmp_path):
    results("train", 60, {})
    (tmp_path / "results/benchmarks/train.tsv").write_text("s\th:m:s\n60\t0:01:00\n")
    assert read_records("results/benchmarks") == {"train": []}


def test_a_broken_benchmark_is_named(results, tmp_path):
    results("train", "soon", {})
    with pytest.raises(BadInput, match=r"train\.tsv: expected a benchmark file"):
        read_records("results/benchmarks")
