"""The demo as a user runs it: once to the end, then again, then with one number changed."""

import csv
import json
import re
import shutil
import subprocess

import pytest
import yaml

from msdiff.tables import registry

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
# That of the readers waits for their answers.
TABLES = [name for name in registry.names() if name != "reader_study"]
FORECASTS = ["regional_accuracy", "activity_prediction", "lesion_count", "counterfactuals", "calibration"]
REPORTING = {"plot_figures", "provenance", "model_card", "datasheet", "report", "all"}


def snakemake(folder, environment, *arguments):
    return subprocess.run(
        ["snakemake", "--profile", "profiles/demo", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(checkout, environment, tmp_path_factory):
    """A checkout of its own in which the demo has run."""
    folder = tmp_path_factory.mktemp("demo") / "msdiff"
    shutil.copytree(checkout, folder, symlinks=True)
    run = snakemake(folder, environment, "all")
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-8000:]
    return folder


@pytest.fixture
def overrides(demo):
    """The demo's numbers, put back after a test has changed them."""
    path = demo / "workflow/config/sizes/demo.yaml"
    text = path.read_text()
    yield path
    path.write_text(text)


def table(demo, name, **wanted):
    with (demo / f"results/tables/{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def planned(folder, environment, *targets):
    """The rules that a dry-run would run."""
    plan = snakemake(folder, environment, "-n", *targets)
    assert plan.returncode == 0, plan.stderr
    found = re.search(r"^job\s+count\n-+\s+-+\n(.*?)^total", plan.stdout, re.MULTILINE | re.DOTALL)
    return {line.split()[0] for line in found.group(1).splitlines()} if found else set()


def test_report_tables_and_record_are_there(demo):
    page = (demo / "results/report.html").read_text()
    assert all(name in page for name in ("augmentation", "augmentation_tests"))
    assert "data:image/png;base64" in page
    assert all(table(demo, name, source="msdiff") for name in TABLES)
    record = json.loads((demo / "results/provenance.json").read_text())
    assert record["config"]["study"] == "phantom"
    assert set(record["sha256"]["tables"]) == set(TABLES)
    for card in ("model_card.md", "datasheet.md"):
        assert f'href="{card}"' in page
        text = (demo / "results" / card).read_text()
        assert record["config_sha256"] in text
        assert "sub-" not in text


def test_every_scan_is_measured_pictured_and_linked(demo):
    rows, page = table(demo, "quality"), (demo / "results/report.html").read_text()
    assert len(rows) == 32
    for row in rows:
        quality = demo / "results/preprocessed/phantom/quality"
        (picture,) = quality.glob(f"*/{row['subject']}/{row['session']}.png")
        assert picture.stat().st_size <= 150 * 1024
        assert f'href="{picture.relative_to(demo / "results")}"' in page
    # A phantom's faults can only come from its preprocessing.
    assert sum(bool(row["flag"]) for row in rows) <= 4


def test_second_run_has_nothing_to_do(demo, environment):
    again = snakemake(demo, environment, "all")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.parametrize(
    ("lost", "rules"),
    [
        ("synthesis/phantom/long_ms_diff/weights.safetensors", {"train_generator", "sample_images", "train_detector"}),
        (
            "synthesis/phantom/ablation/complete/seed-0/held_out/shards/000",
            {"sample_images", "score_images", "ablation"},
        ),
        ("forecasting/trials/prior/weights.safetensors", {"train_prior", "train_control", "sample_forecasts"}),
        ("forecasting/trials/forecasts/test/scores", {"score_forecasts", "regional_accuracy"}),
        ("detection/phantom/long_ms_diff/unet/1-1/seed-0/scores", {"detect_lesions", "augmentation"}),
    ],
)
def test_what_a_killed_run_had_deleted_is_made_again(demo, environment, tmp_path, lost, rules):
    """Snakemake alone would be content with the results of the old one."""
    path = demo / "results" / lost
    path.rename(tmp_path / path.name)
    try:
        assert rules <= planned(demo, environment, "all")
    finally:
        (tmp_path / path.name).rename(path)


def test_changed_number_reruns_only_what_uses_it(demo, environment, overrides):
    values = yaml.safe_load(overrides.read_text())
    values.setdefault("tables", {})["confidence_level"] = 0.9
    overrides.write_text(yaml.safe_dump(values))
    rules = planned(demo, environment, "all")
    assert rules <= {*TABLES, *REPORTING}
    assert "augmentation" in rules


def test_changed_sampler_retrains_no_generator(demo, environment, overrides):
    values = yaml.safe_load(overrides.read_text())
    values["synthesis"].setdefault("sampler", {})["steps"] = 3
    overrides.write_text(yaml.safe_dump(values))
    rules = planned(demo, environment, "all")
    assert "sample_images" in rules
    assert not {"train_generator", "train_auxiliary", "stack_scans", "register"} & rules


@pytest.mark.parametrize("name", ["augmentation", "regional_accuracy"])
def test_one_table_can_be_made_again(demo, environment, name):
    path = demo / f"results/tables/{name}.csv"
    before = path.read_bytes()
    path.unlink()
    run = snakemake(demo, environment, f"results/tables/{name}.csv")
    assert run.returncode == 0, run.stderr
    assert re.search(rf"finished +{name} \(1 of 1 jobs, 100 %\)", run.stderr)
    assert path.read_bytes() == before


def test_generated_lesions_are_there(demo):
    (row,) = table(demo, "image_quality", source="msdiff", generator="long_ms_diff", region="lesion")
    assert 0.7 <= float(row["lesion_contrast_ratio"]) <= 1.3


def test_generated_brain_is_within_the_noise_of_a_rescan(demo):
    (ours,) = table(demo, "image_quality", source="msdiff", generator="long_ms_diff", region="brain")
    (floor,) = table(demo, "image_quality", source="msdiff", generator="noise_floor", region="outside")
    assert float(ours["mae"]) <= 1.5 * float(floor["mae"])


def test_outside_the_mask_it_beats_a_blurred_baseline(demo):
    (ours,) = table(demo, "image_quality", source="msdiff", generator="long_ms_diff", region="outside")
    (blurred,) = table(demo, "image_quality", source="msdiff", generator="blurred_baseline", region="outside")
    assert float(ours["mae"]) < float(blurred["mae"])


def test_a_pasted_mask_and_a_copy_change_nothing_outside(demo):
    for generator in ("paste_lesion", "copy_baseline"):
        (row,) = table(demo, "image_quality", source="msdiff", generator=generator, region="outside")
        assert float(row["change_mae"]) == 0
    (real,) = table(demo, "image_quality", source="msdiff", generator="real_follow_up", region="outside")
    (floor,) = table(demo, "image_quality", source="msdiff", generator="noise_floor", region="outside")
    assert float(real["change_mae"]) == pytest.approx(float(floor["mae"]))


def test_each_idea_is_taken_away_once_and_compared(demo):
    rows = {row["variant"]: row for row in table(demo, "ablation", source="msdiff")}
    ideas = ["change_mask", "auxiliary_loss", "adaptive_weight", "dropout"]
    assert list(rows) == ["complete", *(f"without_{idea}" for idea in ideas)]
    metrics = ["mae_brain", "mae_lesion", "lesion_contrast_ratio", "adherence_dice", "change_outside"]
    for name, row in rows.items():
        assert (row["n"], row["seeds"]) == ("4", "1")
        for metric in metrics:
            assert float(row[f"{metric}_lo"]) <= float(row[metric]) <= float(row[f"{metric}_hi"])
            if name != "complete":
                difference = float(row[metric]) - float(rows["complete"][metric])
                assert float(row[f"{metric}_difference"]) == pytest.approx(difference, abs=2e-5)
    # Who is not told where to put a lesion cannot put it there.
    assert float(rows["without_change_mask"]["adherence_dice_difference_hi"]) < 0


def test_no_patient_is_copied_or_leaked_but_the_own_baseline_by_design(demo):
    rows = table(demo, "privacy", source="msdiff")
    assert [row["measure"] for row in rows] == ["pixel_correlation", "embedding"]
    for row in rows:
        assert (row["n_synthetic"], row["n_reference"], row["leaked_patients"]) == ("240", "6", "0")
        assert float(row["flagged_share"]) <= 0.1
        assert float(row["baseline_similarity_median"]) > float(row["nearest_similarity_median"])
    pictures = demo / "results/privacy/phantom/long_ms_diff/pictures"
    names = sorted(path.stem for path in pictures.glob("*.png"))
    assert names == ["pairs_embedding", "pairs_pixel_correlation", "similarities"]


def test_every_row_counts_the_same_true_lesions(demo):
    rows = table(demo, "augmentation", source="msdiff")
    totals = {round(float(row["correct"]) + float(row["false_negatives"]), 4) for row in rows}
    assert len(totals) == 1
    assert totals.pop() > 0


def test_every_detector_finds_lesions_on_every_mix(demo):
    rows = table(demo, "augmentation", source="msdiff")
    assert len(rows) == 2 * 5
    assert min(float(row["dice"]) for row in rows) > 0.2
    assert [float(row["n_real"]) for row in rows if row["real_synthetic"] == "0:1"] == [0, 0]


def test_forecasts_beat_chance_that_knows_the_arm(demo):
    rows = {row["method"]: row for row in table(demo, "activity_prediction", source="msdiff", arm="all")}
    assert float(rows["net2"]["auc"]) > float(rows["monte_carlo"]["auc"])
    assert float(rows["net2"]["auc_lo"]) > 0.5


def test_fewer_patients_are_active_under_a_better_treatment(demo):
    rows = {row["arm"]: row for row in table(demo, "counterfactuals", source="msdiff")}
    assert list(rows) == ["placebo", "mild_efficacy", "high_efficacy"]
    # The same patients and the same noise under every arm.
    assert len({row["n"] for row in rows.values()}) == 1
    placebo, high = (float(rows[arm]["active_fraction"]) for arm in ("placebo", "high_efficacy"))
    assert high < placebo
    assert float(rows["high_efficacy"]["active_difference_to_placebo_hi"]) < 0


def test_forecasts_are_of_the_same_test_patients_in_every_table(demo):
    sizes = {
        row["n"]
        for name in ("activity_prediction", "lesion_count")
        for row in table(demo, name, source="msdiff", arm="all")
    }
    sizes |= {row["n"] for row in table(demo, "regional_accuracy", source="msdiff")}
    assert len(sizes) == 1
