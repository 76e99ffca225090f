"""How far a run is: what is done, running, waiting, and what failed and why.

Three sources, of which Slurm and the logs may be missing. Snakemake tells of every job whether it must still run. Slurm
tells of the jobs that it holds or remembers. The logs tell why a job failed:

results/logs/<rule>/...log                          what the command said
results/logs/slurm/rule_<rule>/<wildcards>/<n>.log  what became of Slurm job n, which runs one job
results/logs/slurm/group_<name>/<n>.log             the same of a Slurm job that runs several

A Slurm job is called a submission here. Only the last submission of a job counts: what failed and was submitted again
is no failure.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

from msdiff.cluster.slurm import SlurmJob

LOGS = Path("results/logs")
SUBMISSIONS = LOGS / "slurm"

NODE = re.compile(r'^\s*(\d+)\[label = "(\w+).*style="([\w,]+)"', re.MULTILINE)
EDGE = re.compile(r"^\s*(\d+) -> (\d+)$", re.MULTILINE)
TARGETS = re.compile(r"--target-jobs (.+?) --")
# A job that a submission holds, as Snakemake announces it, and again once its command begins, which is `local` there.
ANNOUNCED = re.compile(r"^ *(local)?rule (\w+):\n((?: +\w+: .*\n)+)", re.MULTILINE)
ABOUT = re.compile(r"^ +(output|log|wildcards): (.*)$", re.MULTILINE)
OWN_ERROR = re.compile(r"^msdiff[\w -]*: error: .*", re.MULTILINE)
TRACEBACK = "Traceback (most recent call last):\n"
# Slurm's, or Snakemake's, which names the kind and tells the rest on the next line.
COMPLAINT = re.compile(r"^(?:srun|slurmstepd\S*): error: .*|^\w+(?:Error|Exception)\b.*\n.*", re.MULTILINE)
STAMP = re.compile(r"^\d\d:\d\d:\d\d [\w.]+: ", re.MULTILINE)
STEP = re.compile(r"^.*\bstep \d.*$", re.MULTILINE)
# Between a step's loss and its speed: the parts of the loss.
PARTS = re.compile(r"(?<=: )(\w+ \S+), .*?, (?=\S+ samples/s)")
# Enough for any traceback; a training's log may be long.
TAIL_BYTES = 65536

RUNNING = {"RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"}
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "SPECIAL_EXIT"}

# What a submission's own log says of its end. Slurm's word alone is not enough: where memory is watched by polling, a
# job that took too much is CANCELLED or FAILED, and a training that stopped itself before its limit FAILED.
EVIDENCE = (
    (re.compile(r"oom.kill|[Ee]xceeded (\w+ )?memory limit"), "OUT_OF_MEMORY"),
    (re.compile(r"DUE TO TIME LIMIT"), "TIMEOUT"),
    (re.compile(r"DUE TO NODE FAILURE"), "NODE_FAIL"),
    (re.compile(r"DUE TO PREEMPTION"), "PREEMPTED"),
    (re.compile(r"exit status 75\b"), "OUT_OF_TIME"),
    (re.compile(r"\*\*\* (JOB|STEP) \S+ ON \S+ CANCELLED AT"), "CANCELLED"),
    (re.compile(r"At least one job did not complete successfully"), "FAILED"),
)
AGAIN = "start the run again; what is done stays"
MORE = "give {rule} more %s under set-resources in the profile, then start the run again"
# In words, and what to do about it.
CAUSES = {
    "OUT_OF_MEMORY": ("took more memory than asked", MORE % "mem_mb"),
    "TIMEOUT": ("reached its time limit", MORE % "runtime"),
    "DEADLINE": ("reached its deadline", MORE % "runtime"),
    "OUT_OF_TIME": ("stopped itself before its time limit", "start the run again; it goes on from its checkpoint"),
    "NODE_FAIL": ("its node failed", AGAIN),
    "BOOT_FAIL": ("its node did not start", AGAIN),
    "PREEMPTED": ("made way for another job", AGAIN),
    "CANCELLED": ("was cancelled", AGAIN),
    "FAILED": ("failed", "mend what it says, then start the run again"),
}


@dataclass(frozen=True)
class SubmittedJob:
    """One job of the workflow, in a submission; paths count from the run's folder.

    begun       whether its command began; else its log is an earlier attempt's
    """

    rule: str
    wildcards: str
    outputs: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    begun: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from other jobs."""
        return self.rule, self.wildcards


@dataclass(frozen=True)
class Submission:
    """A Slurm job, and the jobs that it runs.

    name        its folder of logs: rule_<rule>/<wildcards>, or group_<name>
    log         written by Slurm once it runs
    """

    number: int
    name: str
    log: Path
    slurm: SlurmJob

    @property
    def grouped(self) -> bool:
        """Whether it may run more than one job."""
        return self.name.startswith("group_")

    @cached_property
    def text(self) -> str:
        """Its log; empty where it has none."""
        return self.log.read_text(errors="replace") if self.log.is_file() else ""

    @cached_property
    def jobs(self) -> list[SubmittedJob]:
        """The jobs that it runs, or ran; none where its log does not tell."""
        return submitted_jobs(self.text)

    @cached_property
    def state(self) -> str:
        """Slurm's word, made exact by the log; empty where neither tells."""
        if self.slurm.state not in ("", "FAILED", "CANCELLED"):
            return self.slurm.state
        return next((state for sign, state in EVIDENCE if sign.search(self.text)), self.slurm.state)


@dataclass(frozen=True)
class Failure:
    """A job, or a submission of several, that ended without its results and was not started again.

    error       the line of its log that says why; empty where Slurm ended it
    advice      what to do about it
    """

    rule: str
    title: str
    cause: str
    error: str
    log: str
    advice: str


@dataclass
class RunProgress:
    """A run as it stands; counts: jobs done and in all, by rule, in the order of the workflow."""

    counts: dict[str, tuple[int, int]]
    running: list[Submission] = field(default_factory=list)
    waiting: list[Submission] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def count_jobs(graph: str) -> dict[str, tuple[int, int]]:
    """Jobs done and in all, by rule, from what `snakemake --dag dot` prints; first what the others need."""
    rules, done, total = {}, Counter[str](), Counter[str]()
    for number, rule, style in NODE.findall(graph):
        rules[number] = rule
        total[rule] += 1
        # Snakemake dashes what needs not run.
        done[rule] += "dashed" in style
    needs: dict[str, set[str]] = {rule: set() for rule in total}
    for first, second in EDGE.findall(graph):
        needs[rules[second]].add(rules[first])
    return {rule: (done[rule], total[rule]) for rule in TopologicalSorter(needs).static_order()}


def logged_submissions(root: Path) -> dict[int, tuple[str, Path]]:
    """Name and log of every submission that has left a log, by number."""
    folder = root / SUBMISSIONS
    return {
        int(log.stem): (str(log.parent.relative_to(folder)), log) for log in folder.rglob("*.log") if log.stem.isdigit()
    }


def survey(
    root: Path, counts: Mapping[str, tuple[int, int]], queued: Mapping[int, SlurmJob], ended: Mapping[int, SlurmJob]
) -> RunProgress:
    """The run in the folder `root`, from its counts, its logs, and the Slurm jobs that are queued or ended."""
    progress = RunProgress(dict(counts))
    logged = logged_submissions(root)
    names = {number: _name(job.comment, root) for number, job in queued.items() if number not in logged}
    submissions = [Submission(n, *place, queued.get(n) or ended.get(n) or SlurmJob("")) for n, place in logged.items()]
    submissions += [Submission(n, name, root / SUBMISSIONS / name / f"{n}.log", queued[n]) for n, name in names.items()]
    told: set[str] = set()
    later: set[object] = set()
    for submission in sorted(submissions, key=lambda each: -each.number):
        if submission.state in RUNNING | WAITING:
            (progress.running if submission.state in RUNNING else progress.waiting).insert(0, submission)
            told.update(log for job in submission.jobs for log in job.logs)
        elif submission.state in CAUSES:
            told.update(log for job in submission.jobs for log in job.logs)
            if submission.name not in later:
                progress.failures += _failures(root, submission, later, counts)
        # Submissions of a group share one name, and each has other jobs.
        later |= {job.key for job in submission.jobs} if submission.grouped else {submission.name}
    unfinished = [rule for rule, (done, total) in counts.items() if done < total]
    progress.failures += _failures_in_logs(root, unfinished, told)
    return progress


def submitted_jobs(text: str) -> list[SubmittedJob]:
    """The jobs of a submission, from the text of its log."""
    targets = TARGETS.search(text)
    if targets is None:
        return []
    jobs = {}
    for target in targets[1].split():
        rule, _, wildcards = target.partition(":")
        jobs[rule, _values(wildcards.split(","))] = SubmittedJob(rule, _values(wildcards.split(",")))
    for begun, rule, about in ANNOUNCED.findall(text):
        fields = dict(ABOUT.findall(about))
        key = rule, _values(fields.get("wildcards", "").split(", "))
        if key in jobs:
            outputs, logs = (tuple(filter(None, fields.get(name, "").split(", "))) for name in ("output", "log"))
            jobs[key] = SubmittedJob(*key, outputs, logs, bool(begun))
    return list(jobs.values())


def error_line(text: str) -> str:
    """The one line of a log that says why it ended: msdiff's own, or an exception's, or else the last."""
    own = OWN_ERROR.findall(text)
    if own:
        return str(own[-1])
    after = text.rpartition(TRACEBACK)[2]
    lines = [line for line in after.splitlines() if line.strip()]
    if TRACEBACK in text:
        return next((line for line in lines if not line[0].isspace()), "")
    return lines[-1] if lines else ""


def refusal(text: str) -> str:
    """What a submission's log says where no command of it tells an error: the first complaint of Slurm or Snakemake."""
    complaint = COMPLAINT.search(text)
    return " ".join(complaint[0].split()) if complaint else ""


def ends_in_error(text: str) -> bool:
    """Whether nothing was logged after the last error."""
    mark = max((text.rfind(line) for line in [*OWN_ERROR.findall(text)[-1:], TRACEBACK]), default=-1)
    return mark >= 0 and not STAMP.search(text, mark)


def progress_line(text: str) -> str:
    """The newest line of a log that tells a step, else its last line; without the time and who says it, and short."""
    lines = STEP.findall(text) or text.split("\n")
    newest = next((line for line in reversed(lines) if line.strip()), "")
    return PARTS.sub(r"\1, ", STAMP.sub("", newest)).strip()


def tail(path: Path) -> str:
    """The end of a log; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return handle.read().decode(errors="replace")


def group_title(name: str, rules: Collection[str]) -> str:
    """`imaging` of `group_imaging_correct_bias_register`, as the plugin adds the group's rules; a rule stays itself."""
    if not name.startswith("group_"):
        return name
    title = name.removeprefix("group_")
    while rule := max((rule for rule in rules if title.endswith(f"_{rule}")), key=len, default=None):
        title = title.removesuffix(f"_{rule}")
    return title


def _failures(
    root: Path, submission: Submission, later: Collection[object], rules: Collection[str]
) -> Iterator[Failure]:
    """One for each job of a failed submission whose log has an error, or one for them all."""
    jobs = [job for job in submission.jobs if job.key not in later and not _done(root, job)]
    if submission.jobs and not jobs:
        return
    words, advice = CAUSES[submission.state]
    slurm = submission.slurm
    if submission.state == "OUT_OF_MEMORY" and slurm.peak:
        words += f" ({slurm.peak} of {slurm.asked})"
    where = f"Slurm job {submission.number}"
    where += f" on {slurm.nodes}" if slurm.nodes else ""
    where += f", after {slurm.elapsed}" if slurm.elapsed else ""
    errors = {job: (log, tail(root / log)) for job in jobs if job.begun for log in job.logs}
    found = {job: (log, error_line(text)) for job, (log, text) in errors.items() if ends_in_error(text)}
    path = str(submission.log.relative_to(root))
    if submission.state != "FAILED" or not found:
        rule, title = _title(submission, jobs, rules)
        line = "" if submission.state != "FAILED" else refusal(submission.text)
        advice = advice.format(rule="its rules" if submission.grouped else rule)
        yield Failure(rule, title, f"{words}: {where}", line, path, advice)
        return
    for job, (log, line) in found.items():
        yield Failure(job.rule, f"{job.rule} {job.wildcards}", f"{words}: {where}", line, log, advice)


def _failures_in_logs(root: Path, rules: Iterable[str], told: Collection[str]) -> Iterator[Failure]:
    """Of jobs that ran beside Snakemake: an unfinished rule's logs that end in an error."""
    for rule in rules:
        for path in sorted([*root.glob(f"{LOGS}/{rule}.log"), *(root / LOGS / rule).rglob("*.log")]):
            log = str(path.relative_to(root))
            if log not in told and ends_in_error(text := tail(path)):
                words, advice = CAUSES["FAILED"]
                wildcards = log.removeprefix(f"{LOGS}/{rule}").removesuffix(".log").replace("/", " ")
                yield Failure(rule, rule + wildcards, words, error_line(text), log, advice)


def _title(submission: Submission, jobs: list[SubmittedJob], rules: Collection[str]) -> tuple[str, str]:
    """The rule of a submission, or its name where it has several, and how to call it."""
    if submission.grouped:
        return submission.name, f"{group_title(submission.name, rules)} ({len(jobs)} jobs not done)"
    if jobs:
        return jobs[0].rule, f"{jobs[0].rule} {jobs[0].wildcards}"
    rule, _, wildcards = submission.name.removeprefix("rule_").partition("/")
    return rule, f"{rule} {wildcards}"


def _done(root: Path, job: SubmittedJob) -> bool:
    return bool(job.outputs) and all((root / output).exists() for output in job.outputs)


def _name(comment: str, root: Path) -> str:
    """The folder of logs of a submission, from the plugin's comment; it says `rule_` of a group as well."""
    rule, _, wildcards = (comment or "rule_?").partition("_wildcards_")
    group = "group_" + rule.removeprefix("rule_")
    return group if (root / SUBMISSIONS / group).is_dir() else f"{rule}/{wildcards}".rstrip("/")


def _values(pairs: Iterable[str]) -> str:
    """`phantom 1-2` of `cohort=phantom`, `mix=1-2`."""
    return " ".join(pair.partition("=")[2] for pair in pairs if pair)
