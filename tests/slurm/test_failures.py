"""A rule that fails: its log is shown, the other branches go on, and the next run makes what is missing."""

import os
import shutil

import pytest

pytestmark = pytest.mark.slurm
DETECTORS = "results/detection/phantom/long_ms_diff"
BROKEN, WHOLE = f"{DETECTORS}/unet/1-1/seed-0", f"{DETECTORS}/bit_resnet50/1-1/seed-0"
# Of three branches the last steps, and all that is made of them.
LOST = [f"{BROKEN}/scores", f"{WHOLE}/scores", "results/synthesis/phantom/long_ms_diff/image_scores.tsv"]
LOST += ["results/tables", "results/figures", "results/provenance.json", "results/report.html"]
TABLE = "results/tables/augmentation.csv"


def rewrite(path, content):
    """Change a file behind Snakemake's back, as a failing disk does."""
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture(scope="module")
def faulty(finished_demo, snakemake, accounting, tmp_path_factory):
    """A copy with three branches to be finished, and unreadable weights in one of them: folder, run and its jobs."""
    folder = tmp_path_factory.mktemp("faulty") / "msdiff"
    shutil.copytree(finished_demo, folder, symlinks=True)
    rewrite(folder / BROKEN / "weights.safetensors", b"nothing that can be read")
    for lost in LOST:
        (shutil.rmtree if (folder / lost).is_dir() else os.remove)(folder / lost)
    run = snakemake(folder)
    return folder, run, accounting(folder)


def test_run_fails_and_shows_the_log(faulty):
    _, run, _ = faulty
    assert run.returncode != 0
    (line,) = {line.strip() for line in run.stdout.splitlines() if line.strip().startswith("msdiff detect-lesions:")}
    assert line.startswith(f"msdiff detect-lesions: error: {BROKEN}/weights.safetensors: expected weights")


def test_only_the_faulty_branch_stops(faulty):
    folder, _, jobs = faulty
    assert (folder / WHOLE / "scores").exists()
    assert (folder / "results/tables/image_quality.csv").exists()
    assert not (folder / BROKEN / "scores").exists()
    assert not (folder / TABLE).exists()
    assert {row["Rule"] for row in jobs if row["State"] == "FAILED"} == {"detect_lesions"}


def test_next_run_makes_what_is_missing(faulty, finished_demo, snakemake, accounting):
    folder, _, before = faulty
    rewrite(folder / BROKEN / "weights.safetensors", (finished_demo / BROKEN / "weights.safetensors").read_bytes())
    run = snakemake(folder)
    assert run.returncode == 0, run.stdout[-8000:]
    jobs = accounting(folder)[len(before) :]
    assert {row["State"] for row in jobs} == {"COMPLETED"}
    assert [row["Rule"] for row in jobs if not row["Rule"].startswith("tables_")] == ["detect_lesions", "plot_figures"]
    assert (folder / TABLE).read_bytes() == (finished_demo / TABLE).read_bytes()
