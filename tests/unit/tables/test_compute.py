import numpy as np
import pytest

from msdiff.errors import BadInput
from msdiff.tables.compute import compute_table

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
EXTENDED = f"{HEADER}\tjobid\trule_name\twildcards\tparams\tthreads\tresources\tinput_size_mb"


def benchmark(seconds, rss, resources=None):
    line = f"{seconds}\t0:00:01\t{rss}\t1\t1\t1\t1\t1\t1\t1"
    if resources is None:
        return f"{HEADER}\n{line}\n"
    return f"{EXTENDED}\n{line}\t1\trule\t{{}}\t{{'settings': '{{\"a\": 1}}'}}\t1\t{resources}\t{{}}\n"


@pytest.fixture
def folder(tmp_path):
    files = {
        "register/phantom/sub-1.tsv": benchmark(1800, 1024, "{'mem_mb': 1000, 'gpu': 0}"),
        "register/phantom/sub-2.tsv": benchmark(5400, 3072, "{'mem_mb': 1000}"),
        "train_generator/phantom.tsv": benchmark(7200, 2048, "{'mem_mb': 1000, 'gpu': 4}"),
        "stack_scans.tsv": benchmark(36, "NA"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_known_answers(folder):
    table = compute_table(folder)
    assert list(table.columns) == ["source", "rule", "jobs", "wall_hours", "gpu_hours", "max_rss_gb"]
    ours = table[table["source"] == "msdiff"].set_index("rule")
    assert ours.index.tolist() == ["register", "stack_scans", "train_generator"]
    assert ours["jobs"].tolist() == [2, 1, 1]
    assert ours["wall_hours"].tolist() == pytest.approx([2, 0.01, 2])
    assert ours.loc["register", "max_rss_gb"] == 3
    assert ours.loc["register", "gpu_hours"] == 0
    assert ours.loc["train_generator", "gpu_hours"] == 8


def test_the_ablations_networks_are_not_added_to_the_generators(folder):
    for rule in ("sample_images", "train_ablation", "train_generator"):
        path = folder / rule / "phantom/ablation/complete/seed-0.tsv"
        path.parent.mkdir(parents=True)
        path.write_text(benchmark(3600, 512, "{'gpu': 1}"))
    (folder / "ablation.tsv").write_text(benchmark(3.6, 512))
    ours = compute_table(folder).query("source == 'msdiff'").set_index("rule")
    assert ours.loc["train_generator", "gpu_hours"] == 8
    assert ours.loc["train_generator (ablation)", "gpu_hours"] == 1
    assert {"ablation", "train_ablation", "sample_images (ablation)"} < set(ours.index)


def test_unknown_is_missing(folder):
    ours = compute_table(folder).set_index("rule").loc["stack_scans"]
    assert np.isnan(ours["gpu_hours"])
    assert np.isnan(ours["max_rss_gb"])


def test_the_papers_training_stands_beside(folder):
    paper = compute_table(folder).query("source == 'paper'")
    assert paper[["rule", "wall_hours", "gpu_hours"]].values.tolist() == [["train_generator", 18, 72]]


def test_no_benchmark_is_an_error(tmp_path):
    with pytest.raises(BadInput, match="got none"):
        compute_table(tmp_path)


@pytest.mark.parametrize("text", ["a\tb\n1\t2\n", ""])
def test_another_file_is_an_error(tmp_path, text):
    (tmp_path / "register").mkdir()
    (tmp_path / "register" / "x.tsv").write_text(text)
    with pytest.raises(BadInput, match="benchmark file of Snakemake"):
        compute_table(tmp_path)
