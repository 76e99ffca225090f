import hashlib
import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from indexed import stack_files

from msdiff.__main__ import main
from msdiff.errors import BadInput
from msdiff.networks.weights import save_weights
from msdiff.privacy.leakage import Evidence, LeakedPatient, check_leakage
from msdiff.sampling.shards import save_shard
from msdiff.settings import digest
from msdiff.stack.reading import load_stack

TEST_PATIENT, TEST_ROW = "sub-0104", 206


@pytest.fixture
def run(tmp_path, own_stack, make_manifest):
    """What a clean run leaves: a stack, and functions that write its evidence, spoiled as a test asks for."""
    return Run(tmp_path, own_stack, make_manifest)


class Run:
    """Files of a run in a folder; attributes are changed before `write`."""

    def __init__(self, folder, stack, make_manifest):
        self.folder, self.stack = folder, stack
        train = stack.slices[stack.slices["split"] == "train"]
        self.fold = stack.scans[["subject", "split"]].drop_duplicates()
        self.listed = train.assign(kind="real").reset_index(drop=True)
        self.patients = sorted(train["subject"].unique())
        scans = train.drop_duplicates("pair")
        self.statistics = {}
        for name in ("change_mm3", "change_count"):
            logs = np.log1p(scans[f"scan_{name}"])
            self.statistics[name] = {"mean": logs.mean(), "smallest": logs.min(), "largest": logs.max()}
        self.plan = make_manifest(stack, 12)
        self.manifest = self.plan.copy()
        self.weights_sha256 = None
        self.list_digest = None

    def write(self):
        """Write all files; the evidence."""
        self.fold.to_csv(self.folder / "fold.tsv", sep="\t", index=False)
        self.listed.to_csv(self.folder / "slices.tsv", sep="\t", index=False)
        listed = pd.read_csv(self.folder / "slices.tsv", sep="\t", keep_default_na=False)
        description = {"kind": "detector", "slices": self.list_digest or digest(listed.to_csv(index=False))}
        save_weights({"a": torch.zeros(1)}, description, self.folder / "auxiliary.safetensors")
        description = {
            "kind": "generator",
            "patients": self.patients,
            "statistics": self.statistics,
            "settings": {"contrast": "flair", "scalars": "scan"},
        }
        generator = self.folder / "generator.safetensors"
        save_weights({"a": torch.zeros(1)}, description, generator)
        self.plan.to_csv(self.folder / "plan.tsv", sep="\t", index=False)
        weights = self.weights_sha256 or hashlib.sha256(generator.read_bytes()).hexdigest()
        shape = (len(self.manifest), *self.stack.array("flair").shape[2:])
        manifest, images = self.manifest.assign(weights_sha256=weights), np.zeros(shape, np.float32)
        save_shard(self.folder / "000", manifest, follow_up=images, change_mask=images > 0)
        return Evidence(
            plan=self.folder / "plan.tsv",
            shards=[self.folder / "000"],
            generator=generator,
            auxiliary=self.folder / "auxiliary.safetensors",
            auxiliary_slices=self.folder / "slices.tsv",
        )

    def check(self):
        evidence = self.write()
        return check_leakage(load_stack(*self.stack_files()), evidence)

    def stack_files(self):
        """What `--stack` takes: the fold is the run's own."""
        return [*stack_files(self.stack.folder)[:2], str(self.folder / "fold.tsv")]


def test_a_clean_run_passes_and_is_counted(run):
    record = run.check()
    assert record["leaked_patients"] == 0
    assert record["patients"] == {"train": 24, "validation": 40, "test": 40}
    assert (record["n_samples"], record["trained_on"]) == (12, 24)


@pytest.mark.parametrize("table", ["plan", "manifest"])
@pytest.mark.parametrize("what", ["baseline", "mask"])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_test_patient_behind_a_sample_is_found(run, table, what, hidden):
    """By its name; or by the scan alone, where a false name hides it."""
    rows = getattr(run, table)
    rows.loc[5, f"{what}_row"] = TEST_ROW
    if not hidden:
        rows.loc[5, f"{what}_subject"] = TEST_PATIENT
    name = "plan.tsv" if table == "plan" else "manifest.tsv"
    with pytest.raises(LeakedPatient, match=rf"{name}: patient {TEST_PATIENT} of test gave the {what} of sample 5"):
        run.check()


def test_a_name_that_is_not_the_scans_is_refused(run):
    run.plan.loc[3, "baseline_subject"] = "sub-0020"
    with pytest.raises(BadInput, match="expected the baseline of sub-0020, got a scan of sub-0001"):
        run.check()


def test_a_patient_whose_set_was_changed_after_training_is_found(run):
    run.fold.loc[run.fold["subject"] == "sub-0002", "split"] = "test"
    with pytest.raises(LeakedPatient, match=r"slices.tsv: patient sub-0002 of test was trained on"):
        run.check()


def test_a_generator_trained_before_the_sets_were_changed_is_found(run):
    """The auxiliary's list is new; the weights are older."""
    run.fold.loc[run.fold["subject"] == "sub-0024", "split"] = "test"
    run.listed = run.listed[run.listed["subject"] != "sub-0024"]
    with pytest.raises(LeakedPatient, match=r"generator.safetensors: patient sub-0024 of test was trained on"):
        run.check()


def test_a_patient_in_two_sets_is_found(run):
    run.fold = pd.concat([run.fold, run.fold[:1].assign(split="test")])
    with pytest.raises(BadInput, match=r"fold.tsv: patient sub-0001 is in test and train"):
        run.check()


def test_a_test_patient_in_the_auxiliary_list_is_found(run):
    run.listed.loc[2, ["baseline_row", "follow_up_row"]] = [TEST_ROW, TEST_ROW + 1]
    with pytest.raises(LeakedPatient, match=rf"slices.tsv: patient {TEST_PATIENT} of test was trained on"):
        run.check()


def test_another_auxiliary_list_than_the_trained_one_is_refused(run):
    run.list_digest = "0"
    with pytest.raises(BadInput, match=r"expected the list that .* was trained on"):
        run.check()


def test_statistics_of_other_patients_are_refused(run):
    everyone = np.log1p(run.stack.slices.drop_duplicates("pair")["scan_change_mm3"])
    run.statistics["change_mm3"]["mean"] = everyone.mean()
    with pytest.raises(BadInput, match="statistics of the training scans, change_mm3 with a mean"):
        run.check()


def test_scalars_that_are_not_the_donors_are_refused(run):
    run.manifest["change_mm3"] = run.manifest["change_mm3"].astype(float)
    run.manifest.loc[1, "change_mm3"] = 113.0
    with pytest.raises(BadInput, match="sample 1: expected change_mm3 11 of its donor sub-0002, got 113"):
        run.check()


def test_samples_of_other_weights_are_refused(run):
    run.weights_sha256 = "0"
    with pytest.raises(BadInput, match="was made with other weights"):
        run.check()


def test_a_generator_without_its_patients_is_refused(run):
    run.patients = None
    evidence = run.write()
    save_weights({"a": torch.zeros(1)}, {"kind": "generator"}, evidence.generator)
    with pytest.raises(BadInput, match="with the list of patients"):
        check_leakage(run.stack, evidence)


def test_one_patient_under_two_names_is_found_by_content(run):
    path = run.stack.folder / "flair.npy"
    images = np.load(path)
    images[TEST_ROW, 2] = images[4, 1]
    np.save(path, images)
    with pytest.raises(LeakedPatient, match=rf"slice 1 of sub-0003 \(train\) is equal to one of {TEST_PATIENT}"):
        run.check()


def command(run, out):
    evidence = run.write()
    options = {
        "plan": evidence.plan,
        "shards": evidence.shards[0],
        "generator": evidence.generator,
        "auxiliary": evidence.auxiliary,
        "auxiliary-slices": evidence.auxiliary_slices,
        "out": out,
    }
    flags = ["check-leakage", "--stack", *run.stack_files()]
    return [*flags, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]


def test_the_command_writes_its_record_or_ends_with_one_line_and_2(run, tmp_path, capsys):
    out = tmp_path / "leakage.json"
    assert main([*command(run, out), "--keys", "generator=long_ms_diff"]) == 0
    record = json.loads(out.read_text())
    assert (record["leaked_patients"], record["generator"]) == (0, "long_ms_diff")
    assert main([*command(run, out), "--keys", "long_ms_diff"]) == 2
    assert "--keys: expected NAME=VALUE, got 'long_ms_diff'" in capsys.readouterr().err
    out.unlink()
    run.manifest.loc[0, "mask_row"] = TEST_ROW
    capsys.readouterr()
    assert main(command(run, out)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("msdiff")]
    assert TEST_PATIENT in line
    assert "manifest.tsv" in line
    assert not out.exists()


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("poisoned", "told"),
    [
        ("plan", f"plan.tsv: patient {TEST_PATIENT} of test gave the mask of sample 7"),
        ("fold", "slices.tsv: patient sub-0002 of test was trained on"),
    ],
)
def test_a_poisoned_run_stops_before_its_slices_are_mixed(run, poisoned, told, checkout, environment, tmp_path):
    if poisoned == "plan":
        run.plan.loc[7, ["mask_subject", "mask_row"]] = [TEST_PATIENT, TEST_ROW]
    else:
        run.fold.loc[run.fold["subject"] == "sub-0002", "split"] = "test"
    folder, results = tmp_path / "msdiff", tmp_path / "msdiff/results"
    shutil.copytree(checkout, folder, symlinks=True)
    evidence = run.write()
    generator = results / "synthesis/phantom/long_ms_diff"
    for source, target in {
        run.stack.folder: results / "preprocessed/phantom/stack",
        run.stack.folder / "slices.tsv": results / "cohorts/phantom/slices.tsv",
        run.folder / "fold.tsv": results / "cohorts/phantom/folds/split.tsv",
        evidence.plan: generator / "mass/plan.tsv",
        evidence.shards[0]: generator / "mass/shards/000",
        evidence.generator: generator / "weights.safetensors",
        evidence.auxiliary: results / "synthesis/phantom/auxiliary/weights.safetensors",
        evidence.auxiliary_slices: results / "synthesis/phantom/auxiliary/slices.tsv",
    }.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    shutil.copytree(generator / "mass/shards/000", generator / "mass/shards/001")
    mix = "results/detection/phantom/long_ms_diff/mixes/1-1_seed-0.tsv"
    rules = ["check_leakage", "mix_slices"]
    made = subprocess.run(
        ["snakemake", "--profile", "profiles/demo", "--allowed-rules", *rules, "--", mix],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode != 0
    assert told in (results / "logs/check_leakage/phantom/long_ms_diff.log").read_text()
    assert told in made.stdout + made.stderr
    assert not (folder / mix).exists()
    assert not (results / "privacy/phantom/long_ms_diff/leakage.json").exists()


def test_a_plan_without_its_columns_is_bad_input(run):
    run.plan = run.plan.drop(columns="mask_row")
    with pytest.raises(BadInput, match=r"plan\.tsv: missing columns mask_row"):
        check_leakage(run.stack, run.write())
