"""One line per event in the controller's output: submitted, started, finished, failed, again.

Snakemake's own means do not come near it: `quiet: rules` drops its dozen lines per job and with them every failure. A
logger plugin would have to be installed wherever the workflow is started. Snakemake's complete output is in
.snakemake/log/ as ever, and on the screen with --verbose.
"""

import logging
import os
import re
import time
from collections import Counter
from pathlib import Path

SUBMITTED = re.compile(r"Job (\S+) has been submitted with SLURM jobid (\d+) \(log: (.+)\)\.$")
AGAIN = re.compile(r"Trying to restart job (\S+)\.$")
# In a failure's message: Slurm's word, or why it refused the submission.
CAUSE = re.compile(r"SLURM status is: '(\w+)'|The error message was '(.+?)'\.\n", re.DOTALL)
# What the events say already, or nobody needs.
UNSAID = {"job_started", "resources_info", "shellcmd", "workflow_started"}
NOISE = (
    "Auto-selected partition",
    "Cleaning up SLURM log files",
    "Conda environments: ignored",
    "Group jobs: inactive",
    "Select jobs to execute",
    "Singularity containers: ignored",
    "Storing output in storage",
    "Using shell",
)
FAULT = re.compile(r"^(msdiff[\w -]*: error: |Traceback \(most recent call last\))", re.MULTILINE)
# Slurm's own words in a job's Slurm log, which otherwise repeats Snakemake's.
OF_SLURM = re.compile(r"^slurmstepd\b.*", re.MULTILINE)
# Of several jobs together Snakemake does not pass on why.
REFUSED = "not submitted; docs/cluster.md tells how to ask Slurm why"
# Of a failed job's log.
LINES_SHOWN, BYTES_READ = 20, 65536


def show_events(workflow):
    """From now on write one line per event, where this is the controller of a run and --verbose is not given."""
    settings = workflow.output_settings
    if not workflow.is_main_process or settings.dryrun or settings.verbose:
        return
    logger = logging.getLogger("snakemake.logging")
    for handler in list(logger.handlers):
        if handler.name == "DefaultStreamHandler":
            events = Events(handler.stream, settings.show_failed_logs)
            events.filters = handler.filters
            logger.removeHandler(handler)
            logger.addHandler(events)


class Events(logging.StreamHandler):
    """Writes Snakemake's records as lines; it remembers the jobs, for most records tell only their numbers."""

    def __init__(self, stream, show_failed_logs):
        super().__init__(stream)
        self.show_failed_logs = show_failed_logs
        # Names by Snakemake's number of a job, or of several that are submitted together; those that have failed.
        self.names = {}
        self.failed = {}
        # What every log was when its job's newest attempt was announced.
        self.earlier = {}
        self.groups = set()
        self.finished = []

    def emit(self, record):
        """Write what there is to say of a record, if anything."""
        try:
            said = self.lines(record)
            if said:
                self.stream.write(said + "\n")
                self.flush()
        except Exception:
            self.handleError(record)

    def lines(self, record):
        """What there is to say of a record; empty for nothing."""
        event = str(getattr(record, "event", None))
        if event in UNSAID:
            return ""
        said = {
            "group_info": self.grouped,
            "job_info": self.started,
            "job_finished": self.remember,
            "progress": self.progress,
            "job_error": self.job_failed,
            "group_error": self.group_failed,
        }.get(event, self.message)(record)
        # Messages that are not of jobs stay as they are.
        if not said or said == str(record.msg).rstrip():
            return said
        return time.strftime("%b %d %H:%M:%S ", time.localtime(record.created)) + said

    def grouped(self, record):
        """Keep a group's name; its submission tells it among those of its rules."""
        self.groups.add(record.group_id)
        return ""

    def started(self, record):
        """A job that runs beside the controller; of others it is told when they are submitted."""
        name = " ".join([record.rule_name, *map(str, record.wildcards.values())])
        self.names[str(record.jobid)] = name
        self.earlier |= {log: stamp(log) for log in record.log}
        return f"started    {name}" if record.local else ""

    def remember(self, record):
        """Keep it: the progress of all that finished together follows."""
        self.finished.append(self.names.get(str(record.job_id), str(record.job_id)))
        return ""

    def progress(self, record):
        """What has finished, and how far that brings the run."""
        finished, self.finished = self.finished, []
        if len(finished) > 1:
            rules = Counter(name.partition(" ")[0] for name in finished)
            finished = [f"{rule} {count}" for rule, count in rules.items()]
        share = f"{record.done} of {record.total} jobs, {100 * record.done // record.total} %"
        return f"finished   {', '.join(finished)} ({share})"

    def job_failed(self, record):
        """A failed job and the end of its log; of one in a group the group's failure tells."""
        if record.indent:
            return ""
        number = str(record.jobid)
        self.failed[number] = self.names.get(number, record.rule_name)
        message = record.rule_msg or ""
        cause = CAUSE.search(message)
        cause = " ".join((cause[1] or cause[2]).split()) if cause else message.partition("\n")[0]
        slurm = record.aux.get("external_jobid")
        own = [log for log in record.log if Path(log).stem != str(slurm)]
        parts = [f"Slurm job {slurm}" if slurm else "", cause, f"log {own[0]}" if own else ""]
        line = f"failed     {self.failed[number]}: {', '.join(filter(None, parts))}"
        return "\n".join([line, *self.shown(own, record.log[len(own) :])])

    def group_failed(self, record):
        """Jobs that were submitted together, and the ends of those of their logs that tell a fault."""
        # None where Slurm refused it.
        slurm = getattr(record, "external_jobid", None)
        line = f"failed     {record.groupid}: " + (f"Slurm job {slurm}" if slurm else REFUSED)
        name = f"{record.groupid} (Slurm job {slurm})" if slurm else record.groupid
        self.failed[next((number for number, known in self.names.items() if known == name), name)] = name
        faulty = [
            (self.names.get(str(job["jobid"]), job["rule_name"]), log)
            for job in record.job_error_info
            for log in job["log"]
            if FAULT.search(self.tail(log))
        ]
        lines = [part for name, log in faulty for part in [f"    {name}, log {log}", *self.shown([log], [])]]
        return "\n".join([line, *(lines or self.shown([], record.aux_logs))])

    def message(self, record):
        """Snakemake's and the Slurm plugin's own messages, the two that tell of jobs in our words."""
        said = record.getMessage().rstrip() if record.msg else ""
        if match := SUBMITTED.match(said):
            number, slurm, log = match.groups()
            name = self.names.get(number, "")
            # Jobs that are submitted together have a number of which only the log's path tells the name.
            if Path(log).parent.name.startswith("group_"):
                folder = Path(log).parent.name.removeprefix("group_")
                name = max((group for group in self.groups if folder.startswith(group)), key=len, default=folder)
                self.names[number] = f"{name} (Slurm job {slurm})"
            return f"submitted  {name}: Slurm job {slurm}, log {os.path.relpath(log)}"
        if match := AGAIN.match(said):
            self.failed.pop(match[1], None)
            return f"again      {self.names.get(match[1], match[1])}"
        if said.startswith("Exiting because a job execution failed"):
            return f"not done   {'; '.join(self.failed.values()) or 'see above'}"
        # A command's exit code and text; the failure that follows tells the rest.
        if getattr(record, "exception", None) == "RuleException" and "returned non-zero exit status" in said:
            return ""
        return "" if said.startswith(NOISE) else said

    def shown(self, logs, of_slurm):
        """The ends of logs, indented: the job's own, and of its Slurm log Slurm's words, or the end if it is alone."""
        if not self.show_failed_logs:
            return []
        lines = [line for log in logs for line in self.tail(log).splitlines()[-LINES_SHOWN:]]
        for log in of_slurm:
            text = self.tail(log)
            lines += OF_SLURM.findall(text) or ([] if lines else text.splitlines()[-LINES_SHOWN:])
            lines.append(f"(Slurm's log: {os.path.relpath(log)})")
        return [f"    {line}" for line in lines]

    def tail(self, log):
        """The end of a log; empty where there is none, or only that of an earlier attempt."""
        now = stamp(log)
        if now is None or now == self.earlier.get(log):
            return ""
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - BYTES_READ))
            return file.read().decode(errors="replace")


def stamp(log):
    """When a file was last written; None where there is none."""
    return os.stat(log).st_mtime_ns if os.path.isfile(log) else None
