"""Dry-runs, as a user or an admin makes them before anything runs."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow
HEAVY = ["torch", "monai", "ants", "tensorflow", "nibabel", "matplotlib", "scipy", "sklearn", "skimage"]
# What the workflow may import of the package: modules that need pandas and pydantic alone.
IMPORTED = {"msdiff", "msdiff.config_check", "msdiff.config_files", "msdiff.errors", "msdiff.writing"}
IMPORTED |= {"msdiff.cohort", "msdiff.cohort.sheets", "msdiff.patients"}


def snakemake(checkout, environment, *arguments):
    return subprocess.run(
        ["snakemake", *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def planned_jobs(output):
    """Jobs per rule, from the table that a dry-run prints."""
    table = re.search(r"^job\s+count\n-+\s+-+\n(.*?)^total", output, re.MULTILINE | re.DOTALL).group(1)
    return {rule: int(count) for rule, count in (line.split() for line in table.splitlines())}


def test_planning_imports_no_heavy_library(checkout, environment):
    code = (
        "import json, sys\n"
        "from snakemake.cli import main\n"
        "try:\n    main(['--profile', 'slurm', '-n', '--quiet', 'all', '--', 'all'])\n"
        "except SystemExit as done:\n    assert not done.code, done.code\n"
        f"loaded = [name for name in sys.modules if name in {HEAVY} or name.partition('.')[0] == 'msdiff']\n"
        "sys.stderr.write('loaded ' + json.dumps(loaded))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=environment, capture_output=True, text=True, check=True
    )
    assert set(json.loads(run.stderr.rsplit("loaded ", 1)[1])) == IMPORTED


@pytest.mark.parametrize("profile", ["profiles/demo", "profiles/local", "slurm"])
def test_every_profile_plans(checkout, environment, profile):
    plan = snakemake(checkout, environment, "--profile", profile, "-n", "all")
    assert plan.returncode == 0, plan.stderr
    assert planned_jobs(plan.stdout)["report"] == 1


def test_one_table_plans_only_what_it_needs(checkout, environment):
    plan = snakemake(checkout, environment, "--profile", "profiles/demo", "-n", "results/tables/cohort.csv")
    assert plan.returncode == 0, plan.stderr
    assert not {"train_generator", "train_detector", "sample_images"} & set(planned_jobs(plan.stdout))


def test_the_table_of_regions_plans_just_what_it_needs(checkout, environment):
    """One cohort, one model and its two purposes, in as many jobs as there are batches and shards."""
    plan = snakemake(checkout, environment, "--profile", "profiles/demo", "-n", "results/tables/regional_accuracy.csv")
    assert plan.returncode == 0, plan.stderr
    jobs = planned_jobs(plan.stdout)
    batches = jobs.pop("simulate_aligned")
    assert jobs.pop("parcellate") == batches < 20
    assert jobs.pop("sample_forecasts") >= jobs.pop("score_forecasts") == 2
    alone = ["index_phantom", "check_sheet", "assign_fold", "stack_scans", "cut_slabs", "train_prior", "train_control"]
    assert jobs == dict.fromkeys([*alone, "regional_accuracy"], 1)
    assert set(re.findall(r"cohort=(\w+)", plan.stdout)) == {"trials"}


def differences(first, second, path=()):
    """The paths of settings, with both values, in which two sections differ; where one of them is no mapping, of it."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return {} if first == second else {".".join(path): (first, second)}
    keys = sorted({*first, *second})
    return {k: v for key in keys for k, v in differences(first.get(key), second.get(key), (*path, key)).items()}


def test_an_ablation_takes_one_idea_at_a_time_and_nothing_that_it_does_not_need(checkout, environment):
    table = "results/tables/ablation.csv"
    plan = snakemake(checkout, environment, "--profile", "profiles/demo", "-n", "-p", table)
    assert plan.returncode == 0, plan.stderr
    jobs = planned_jobs(plan.stdout)
    variants = ["change_mask", "auxiliary_loss", "adaptive_weight", "dropout"]
    names = ["complete", *(f"without_{variant}" for variant in variants)]
    assert [jobs[rule] for rule in ("train_ablation", "sample_images", "score_images")] == [len(names)] * 3
    # One auxiliary, one detector that scores, one plan, for all of them.
    assert [jobs[rule] for rule in ("train_auxiliary", "train_detector", "plan_samples")] == [1, 1, 1]
    assert not {"train_generator", "detect_lesions", "augmentation", "image_quality", "plot_figures"} & set(jobs)
    trained = {}
    for command in re.findall(r"exec python -m msdiff train-generator.*?2>&1", plan.stdout, re.DOTALL):
        words = shlex.split(command.replace("\\\n", " "))
        path = words[words.index("--weights") + 1]
        trained[path.split("/")[-3]] = json.loads(words[words.index("--settings") + 1])
    assert sorted(trained) == sorted(names)
    changed = {name: differences(trained["complete"], settings) for name, settings in trained.items()}
    assert changed["complete"] == {}
    assert changed["without_change_mask"] == {
        "conditions": (["baseline", "change_mask", "scalars"], ["baseline", "scalars"])
    }
    (weight,) = changed["without_auxiliary_loss"].items()
    assert (weight[0], weight[1][1]) == ("auxiliary.maximum_time", 0)
    (dropout,) = changed["without_dropout"].items()
    assert (dropout[0], dropout[1][1]) == ("dropout.baseline", 0)
    assert all(path.startswith("auxiliary.balance.") for path in changed["without_adaptive_weight"])
    assert trained["without_adaptive_weight"]["auxiliary"]["balance"]["backend"] == "fixed"
    assert trained["complete"]["auxiliary"]["balance"]["backend"] != "fixed"


def test_a_parcellator_runs_in_its_own_environment(checkout, environment, tmp_path):
    """In one beside a shared installation, else in the checkout's, else in the one that the shell has."""
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("parcellation: {backend: synthseg}")
    command = ["-n", "-p", "--cores", "1", "--configfile", str(overlay), "--", "results/parcellation/phantom/000"]
    plan = snakemake(checkout, environment, *command).stdout
    assert planned_jobs(plan)["parcellate"] == 1
    assert planned_jobs(plan)["normalise"] == 1
    (called,) = re.findall(r"(PATH=\S+ python) -m msdiff parcellate", plan)
    own = shutil.copytree(checkout, tmp_path / "checkout")

    def python(**variables):
        command = called.replace(" python", "; command -v python")
        run = subprocess.run(
            ["bash", "-c", command], cwd=own, env=environment | variables, capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    def make(environments):
        program = environments / "synthseg/bin/python"
        program.parent.mkdir(parents=True)
        program.touch(mode=0o755)
        return str(program)

    assert python() == shutil.which("python", path=environment["PATH"])
    assert python(MSDIFF_ENVIRONMENTS=str(tmp_path / "nowhere")) == python()
    assert make(own / ".environments") == python()
    assert make(tmp_path / "shared") == python(MSDIFF_ENVIRONMENTS=str(tmp_path / "shared"))


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("studdy: phantom", "studdy"),
        ("study: nowhere", "nowhere"),
        ("synthesis: {shards: {mass: many}}", "synthesis.shards.mass"),
        ("preprocess: {grid: {spacing: 1}}", "spacing"),
        ("preprocess: {registration: {backend: [ants]}}", "preprocess.registration.backend"),
        ("cohort: {phantom: {grid: {shape: [8, 8]}}}", "cohort.phantom.grid"),
        (
            "cohort: {phantom: {grid: {shape: [8, 8, 0], spacing_mm: [1, 1, 1], centre_mm: [0, 0, 0]}}}",
            "cohort.phantom.grid",
        ),
        ("cohort: {phantom: {folds: {backend: leave_two_out}}}", "cohort.phantom.folds"),
        ("cohort: {phantom: {folds: {backend: k_fold, k_fold: {folds: 2, seed: 0}}}}", "cohort.phantom.folds"),
    ],
)
def test_faulty_config_stops_in_one_line(checkout, environment, tmp_path, override, named):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(override)
    run = snakemake(checkout, environment, "-n", "--cores", "1", "--configfile", str(overlay), "--", "all")
    assert run.returncode == 2
    lines = [line for line in run.stderr.splitlines() if line.startswith("msdiff: error:")]
    assert len(lines) == 1
    assert named in lines[0]
    assert "Traceback" not in run.stderr


def own_study(folder: Path, rows: str):
    sheet = folder / "own.tsv"
    sheet.write_text(rows)
    overlay = folder / "overlay.yaml"
    overlay.write_text(f"study: own\ncohort: {{own: {{sheet: {sheet}, contrasts: [flair]}}}}")
    return overlay


HEADER = "subject\tsession\tdays\tflair\tsplit\n"


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (HEADER + "sub-1\tses-1\t0\tmissing.nii.gz\ttrain\n", "missing.nii.gz"),
        (HEADER + "one\tses-1\t0\t\ttrain\n", "subject"),
        (HEADER + "sub-1\tses-1\tsoon\t\ttrain\n", "days"),
        (HEADER + "sub-1\tses-1\t0\t\ttraining\n", "split"),
    ],
)
def test_faulty_sheet_stops_before_anything_runs(checkout, environment, tmp_path, rows, named):
    overlay = own_study(tmp_path, rows)
    run = snakemake(checkout, environment, "-n", "--cores", "1", "--configfile", str(overlay), "--", "all")
    assert run.returncode == 2
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("msdiff: error:")]
    assert named in line


SCANS = "sub-1\tses-w000\t0\tscan.nii.gz\t\nsub-1\tses-w048\t336\tscan.nii.gz\t\n"


def test_forecasts_that_a_sheet_cannot_give_are_no_part_of_all(checkout, environment, tmp_path):
    """Who asks for one by name is told which columns and sessions are missing."""
    (tmp_path / "scan.nii.gz").touch()
    overlay = own_study(tmp_path, HEADER + SCANS)
    command = ["-n", "--cores", "1", "--configfile", str(overlay), "--"]
    plan = snakemake(checkout, environment, *command, "all")
    assert plan.returncode == 0, plan.stderr
    assert planned_jobs(plan.stdout)["cohort"] == 1
    assert not {"cut_slabs", "train_prior", "regional_accuracy"} & set(planned_jobs(plan.stdout))
    assert "no forecasts can be made, for it lacks column arm" in plan.stderr
    run = snakemake(checkout, environment, *command, "results/tables/lesion_count.csv")
    assert run.returncode == 2
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("msdiff: error:")]
    for missing in ("own.tsv", "column arm", "column lesion_mask", "column enhancing_mask", "ses-w096"):
        assert missing in line
    assert "column flair" not in line


def test_a_sheet_with_arms_masks_and_three_sessions_is_forecast_itself(checkout, environment, tmp_path):
    (tmp_path / "scan.nii.gz").touch()
    header = "subject\tsession\tdays\tflair\tlesion_mask\tenhancing_mask\tarm\n"
    scans = [f"sub-1\tses-w{week:03d}\t{7 * week}\t" for week in (0, 48, 96)]
    overlay = own_study(tmp_path, header + "".join(f"{scan}{3 * 'scan.nii.gz	'}placebo\n" for scan in scans))
    command = ["-n", "--cores", "1", "--configfile", str(overlay), "--", "results/tables/lesion_count.csv"]
    plan = snakemake(checkout, environment, *command)
    assert plan.returncode == 0, plan.stderr
    jobs = planned_jobs(plan.stdout)
    assert [jobs.get(rule) for rule in ("register", "stack_scans", "cut_slabs", "simulate_aligned")] == [1, 1, 1, None]
    assert set(re.findall(r"cohort=(\w+)", plan.stdout)) == {"own"}
    # An arm that no forecast knows is told before days of imaging.
    sheet = tmp_path / "own.tsv"
    sheet.write_text(sheet.read_text().replace("placebo", "glatiramer"))
    run = snakemake(checkout, environment, *command)
    assert run.returncode == 2
    assert re.search(r"msdiff: error: .*own.tsv.*forecasting.arms.*glatiramer", run.stderr)


def test_a_study_may_do_without_forecasts(checkout, environment, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("forecasting: {cohorts: {phantom: null}}")
    command = ["-n", "--cores", "1", "--configfile", str(overlay), "--"]
    run = snakemake(checkout, environment, *command, "results/forecasting/trials/slabs")
    assert run.returncode != 0
    run = snakemake(checkout, environment, *command, "results/tables/calibration.csv")
    assert run.returncode == 2
    assert "forecasting.cohorts.phantom" in run.stderr


OF_LONG_MS_DIFF = {
    "train_generator",
    "train_ablation",
    "train_detector",
    "sample_images",
    "score_images",
    "detect_lesions",
}
OF_LONG_MS_DIFF |= {
    "check_leakage",
    "plot_nearest",
    "export_reader_study",
    "augmentation",
    "lesions",
    "privacy",
    "ablation",
}
OF_NET2 = {"simulate_aligned", "cut_slabs", "train_prior", "train_control", "sample_forecasts", "score_forecasts"}
OF_NET2 |= {"regional_accuracy", "activity_prediction", "lesion_count", "counterfactuals", "calibration"}
OF_ALL = {"cohort", "quality", "compute", "plot_figures", "provenance", "model_card", "datasheet", "report", "all"}


@pytest.mark.parametrize(
    ("system", "made", "left_out"), [("long_ms_diff", OF_LONG_MS_DIFF, OF_NET2), ("net2", OF_NET2, OF_LONG_MS_DIFF)]
)
def test_a_system_that_is_left_out_leaves_out_what_it_makes(checkout, environment, system, made, left_out):
    """Its rules, tables, options of figures, report and cards, and its cohort."""
    arguments = ["--profile", "profiles/demo", "-n", "-p", "--config", f"systems=[{system}]", "--", "all"]
    plan = snakemake(checkout, environment, *arguments)
    assert plan.returncode == 0, plan.stderr
    jobs = set(planned_jobs(plan.stdout))
    assert made | OF_ALL <= jobs
    assert not left_out & jobs
    other = {"long_ms_diff": "results/forecasting", "net2": "results/synthesis"}[system]
    assert other not in plan.stdout
    for command in ("plot-figures", "report", "model-card", "datasheet", "provenance"):
        assert f"python -m msdiff {command} " in plan.stdout
    # Named one by one: the folder may hold tables of an earlier run of both systems.
    told = re.findall(r"--tables (.*?) \\\n", plan.stdout)
    assert len(told) == 5
    tables = {f"results/tables/{rule}.csv" for rule in jobs} & set(told[0].split())
    assert all(set(each.split()) == tables for each in told)


def test_a_table_of_a_system_that_is_left_out_says_so(checkout, environment):
    arguments = ["--profile", "profiles/demo", "-n", "--config", "systems=[long_ms_diff]", "--"]
    run = snakemake(checkout, environment, *arguments, "results/tables/calibration.csv")
    assert run.returncode == 2
    assert "add net2 to systems" in run.stderr


def test_an_unknown_system_is_answered_with_the_known(checkout, environment):
    run = snakemake(checkout, environment, "--profile", "profiles/demo", "-n", "--config", "systems=[net3]")
    assert run.returncode == 2
    assert re.search(r"msdiff: error: config: systems.*expected one of long_ms_diff, net2, got 'net3'", run.stderr)


def test_excluded_scans_are_not_planned(checkout, environment, tmp_path):
    """Of sub-1 the first scan is out, of sub-2 the middle one, of sub-3 all; sub-4 has one session."""
    (tmp_path / "scan.nii.gz").touch()
    header = "subject\tsession\tdays\tflair\tlesion_mask\tchange_mask\texclude\n"
    rows = [("sub-1", "a", "motion"), ("sub-1", "b", ""), ("sub-1", "c", "")]
    rows += [("sub-2", "c", ""), ("sub-2", "a", ""), ("sub-2", "b", "wrong contrast")]
    rows += [("sub-3", "a", " motion "), ("sub-4", "a", "")]
    scan, days = "\tscan.nii.gz" * 3, {"a": 0, "b": 100, "c": 200}
    lines = [f"{subject}\tses-{session}\t{days[session]}{scan}\t{exclude}\n" for subject, session, exclude in rows]
    overlay = own_study(tmp_path, header + "".join(lines))
    command = ["-n", "-p", "--cores", "1", "--configfile", str(overlay), "--", "results/preprocessed/own/stack"]
    plan = snakemake(checkout, environment, *command)
    assert plan.returncode == 0, plan.stderr
    assert planned_jobs(plan.stdout)["register"] == 1
    patients = [json.loads(found) for found in re.findall(r"--patients '(.*?)'", plan.stdout)]
    scans = {(row["subject"], row["session"]): "change_mask" in row for rows in patients for row in rows}
    assert scans == {
        ("sub-1", "ses-b"): False,
        ("sub-1", "ses-c"): True,
        ("sub-2", "ses-a"): True,
        ("sub-2", "ses-c"): False,
        ("sub-4", "ses-a"): True,
    }


def test_sheet_of_excluded_scans_is_refused(checkout, environment, tmp_path):
    overlay = own_study(tmp_path, HEADER.replace("split", "exclude") + "sub-1\tses-1\t0\tscan.nii.gz\tmotion\n")
    run = snakemake(checkout, environment, "-n", "--cores", "1", "--configfile", str(overlay), "--", "all")
    assert run.returncode == 2
    assert "expected a scan to use, got all excluded" in run.stderr


def test_own_study_without_a_sheet_says_how_to_write_one(checkout, environment):
    run = snakemake(checkout, environment, "-n", "--cores", "1", "--config", "study=own")
    assert run.returncode == 2
    assert "index-scans" in run.stderr


def test_two_cohorts_may_have_two_grids(checkout, environment, tmp_path):
    own = {"shape": [40, 48, 40], "spacing_mm": [4.0, 4.0, 4.0], "centre_mm": [0.0, -18.0, 8.0]}
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(json.dumps({"cohort": {"phantom": {"grid": own}}}))
    command = ["--profile", "profiles/demo", "-n", "-p", "--configfile", str(overlay), "--", "all"]
    plan = snakemake(checkout, environment, *command)
    assert plan.returncode == 0, plan.stderr

    def grids(command):
        """Those that the command is told, by the size of their voxels."""
        settings = re.findall(rf"msdiff {command} .*?--settings '(.*?)'", plan.stdout, re.DOTALL)
        return {tuple(json.loads(text)["grid"]["spacing_mm"]) for text in settings}

    assert grids("register") == {(4.0, 4.0, 4.0)}
    assert grids("simulate-aligned") == {(3.0, 3.0, 6.0)}


def test_a_cohort_of_single_scans_is_planned_up_to_its_stack_and_folds(checkout, environment, tmp_path):
    """Nothing of it needs a pair. The index of slices does, and pair-scans then ends with one line."""
    (tmp_path / "scan.nii.gz").touch()
    overlay = own_study(tmp_path, HEADER + "".join(f"sub-{n}\tses-1\t0\tscan.nii.gz\t\n" for n in range(1, 4)))
    folds = "cohort: {own: {folds: {backend: leave_one_out}}}"
    (tmp_path / "folds.yaml").write_text(folds)
    command = ["-n", "--cores", "1", "--configfile", str(overlay), str(tmp_path / "folds.yaml"), "--"]
    targets = [f"results/cohorts/own/folds/{fold}.tsv" for fold in ("split", 1, 2, 3)]
    plan = snakemake(checkout, environment, *command, "results/preprocessed/own/stack", *targets)
    assert plan.returncode == 0, plan.stderr
    jobs = planned_jobs(plan.stdout)
    assert [jobs[rule] for rule in ("register", "parcellate", "stack_scans", "assign_fold")] == [1, 1, 1, 4]
    assert not {"pair_scans", "index_slices"} & set(jobs)
    plan = snakemake(checkout, environment, *command, "results/cohorts/own/slices.tsv")
    assert {"pair_scans", "index_slices"} <= set(planned_jobs(plan.stdout))


def test_a_fold_of_a_cohort_without_folds_is_refused_in_one_line(checkout, environment):
    command = ["--profile", "profiles/demo", "-n", "results/cohorts/phantom/folds/1.tsv"]
    run = snakemake(checkout, environment, *command)
    assert run.returncode == 2
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("msdiff: error:")]
    assert "cohort.phantom.folds: expected folds to make fold 1 of, got none" in line
