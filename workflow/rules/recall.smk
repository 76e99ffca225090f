"""What a killed controller left: jobs that run on in Slurm, and finished work that nobody recorded.

Reads   squeue: this user's jobs of this directory
Writes  .snakemake/: the parameters of what finished without a controller
"""

import glob
import re
import shutil
import subprocess
import time

# The profile's prefix and the plugin's run id. A controller that itself runs in a Slurm job never bears such a name.
JOB_NAME = re.compile(r"msdiff_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PATIENCE_SECONDS = 300


def jobs_left_behind():
    """The Slurm jobs, by id, that a controller submitted from this directory."""
    command = ["squeue", "--me", "--noheader", "--format=%i|%j|%Z"]
    listing = subprocess.run(command, capture_output=True, text=True)
    if listing.returncode != 0:
        if workflow.local_exec:
            return []
        stop(
            f"{' '.join(command)}: {listing.stderr.strip()}; run the same command again when Slurm answers"
        )
    jobs = [line.split("|", 2) for line in listing.stdout.splitlines()]
    here = os.path.realpath(os.getcwd())
    return [
        job
        for job, name, folder in jobs
        if JOB_NAME.fullmatch(name) and os.path.realpath(folder) == here
    ]


def recall_jobs():
    """Cancel them, or this run would compute the same beside them; a training saves its checkpoint before it ends."""
    if shutil.which("squeue") is None:
        return
    jobs = jobs_left_behind()
    if not jobs:
        return
    sys.stderr.write(
        f"msdiff: cancelling Slurm jobs of a killed controller: {' '.join(jobs)}\n"
    )
    subprocess.run(["scancel", *jobs])
    end = time.monotonic() + PATIENCE_SECONDS
    while jobs := jobs_left_behind():
        if time.monotonic() > end:
            stop(
                f"Slurm jobs {' '.join(jobs)} of a killed controller run on, {PATIENCE_SECONDS} s after scancel; "
                "run the same command again when squeue shows them no more"
            )
        time.sleep(1)


def record_parameters():
    """Record, for what is there and up to date without a record, the parameters as Snakemake does when a job ends.

    Without one it would never notice that a number of the config has changed.
    """
    for job in workflow.dag.jobs:
        there = job.output and all(os.path.exists(path) for path in job.output)
        if (
            there
            and not workflow.dag.needrun(job)
            and not workflow.persistence.has_metadata(job)
        ):
            workflow.async_run(workflow.persistence.finished(job))


onstart:
    # Under the only lock there is no other controller. Beside another's, one that lives may be waiting for its jobs.
    if len(glob.glob(".snakemake/locks/*.output.lock")) == 1:
        recall_jobs()
        record_parameters()
