from msdiff.cluster.dry_run import read_jobs

# Two patients in one submission, a training of its own, and a rule that is not submitted; as Snakemake 9.27 prints.
TEXT = """\
Building DAG of jobs...
Job stats:
job            count
-----------  -------
register           2
train              1
all                1
total              4

[Sat Nov 21 12:23:24 2026] Group job imaging (jobs in lexicogr. order):

    [Sat Nov 21 12:23:24 2026]
    rule register:
        input: raw/sub-1, raw/sub-1.json
        output: results/registered/sub-1
        log: results/logs/register/sub-1.log
        jobid: 638
        benchmark: results/benchmarks/register/sub-1.tsv
        reason: Missing output files: results/registered/sub-1; Input files updated by another job: raw/sub-1
        wildcards: cohort=phantom, subject=sub-1
        threads: 2
        resources: tmpdir=/tmp, disk_mb=<TBD>, mem_mb=6000, mem=6 GB, runtime=30
Shell command:
        python -m msdiff register \\
            --registered results/registered/sub-1 \\
            --contrasts flair t1w \\
            --settings '{"backend": "ants", "name": "patient'"'"'s"}' >results/logs/register/sub-1.log 2>&1


    [Sat Nov 21 12:23:24 2026]
    rule register:
        output: results/registered/sub-2
        jobid: 639
        benchmark: results/benchmarks/register/sub-2.tsv
        wildcards: cohort=phantom, subject=sub-2
        resources: tmpdir=/tmp, mem_mb=6000, runtime=30
Shell command:
        python -m msdiff register --settings '{}' >log 2>&1


[Sat Nov 21 12:23:25 2026]
rule train:
    input: results/registered/sub-1, results/registered/sub-2
    output: results/weights, results/history.csv
    jobid: 878
    benchmark: results/benchmarks/train.tsv
    resources: tmpdir=/tmp, mem_mb=64000, runtime=1440, gpu=4, gpu_model=a100, slurm_extra=--signal=TERM@120
Shell command:
        exec python -m msdiff train --minutes 1440 --out results/weights >log 2>&1


[Sat Nov 21 12:23:25 2026]
localrule all:
    input: results/weights
    jobid: 0
    reason: Input files updated by another job: results/weights
    resources: tmpdir=/tmp, mem_mb=4000, runtime=30
Shell command: None
Job stats:
job            count
-----------  -------
all                1
total              1

This was a dry-run (flag -n). The order of jobs does not reflect the order of execution.
"""


def test_jobs_are_read_with_all_that_they_ask_for():
    first, second, train, last = read_jobs(TEXT)
    assert first.rule == "register"
    assert first.inputs == ("raw/sub-1", "raw/sub-1.json")
    assert first.outputs == ("results/registered/sub-1",)
    assert first.benchmark == "results/benchmarks/register/sub-1.tsv"
    assert first.wildcards == {"cohort": "phantom", "subject": "sub-1"}
    assert first.threads == 2
    assert (first.resources["mem_mb"], first.resources["runtime"]) == ("6000", "30")
    assert first.options == {
        "registered": ("results/registered/sub-1",),
        "contrasts": ("flair", "t1w"),
        "settings": ('{"backend": "ants", "name": "patient\'s"}',),
    }
    assert (first.gpus, first.gpu_model) == (0, None)
    assert (second.threads, second.inputs) == (1, ())
    assert (train.gpus, train.gpu_model) == (4, "a100")
    assert train.outputs == ("results/weights", "results/history.csv")
    assert (last.rule, last.benchmark, last.options) == ("all", None, {})


def test_jobs_under_one_group_are_one_submission():
    assert [job.group for job in read_jobs(TEXT)] == [1, 1, None, None]
    twice = TEXT.replace(
        "[Sat Nov 21 12:23:25 2026]\nrule train",
        "[Sat Nov 21 12:23:25 2026] Group job imaging\n\n    [Sat Nov 21 12:23:25 2026]\n    rule train",
    )
    assert [job.group for job in read_jobs(twice)] == [1, 1, 2, None]


def test_nothing_to_do_is_no_job():
    assert (
        read_jobs("Building DAG of jobs...\nNothing to be done (all requested files are present and up to date).\n")
        == []
    )
