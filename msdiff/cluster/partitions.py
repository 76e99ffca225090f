"""Propose what profiles/slurm/partitions.yaml says of a cluster, from Slurm's own account of its partitions and nodes.

Snakemake's Slurm plugin sends a job to the partition of that file whose limits it fits most tightly. The limits of an
entry must therefore hold together on one node: it describes one kind of node, that with most GPUs (up to what a
training uses), then most memory, then most cores. What other nodes of the partition offer beyond that stands beside it
as a comment, and so does every partition that was left out, with the reason.

`scontrol` is asked in its one-line form, which all versions print alike, `sacctmgr` where there is accounting. Each
answer is a text, and all but the asking is a function of these texts.
"""

import getpass
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from msdiff.cluster.dry_run import PlannedJob
from msdiff.errors import BadInput
from msdiff.settings import digest

QUESTIONS = {
    "config": ["scontrol", "show", "config"],
    "partitions": ["scontrol", "--all", "--oneliner", "show", "partition"],
    "nodes": ["scontrol", "--all", "--oneliner", "show", "node"],
    "groups": ["id", "-Gn"],
    "accounts": ["sacctmgr", "-nP", "show", "assoc", "user={user}", "format=Account"],
    "qos": ["sacctmgr", "-nP", "show", "assoc", "user={user}", "format=QOS"],
}
# A cluster may do without accounting.
OPTIONAL = ("accounts", "qos")
# In one of these states a node takes no jobs. Powered down is none of them: such a node is started when it is wanted.
UNUSABLE = re.compile(r"DOWN|DRAIN(ED|ING)?|ERROR|FAIL(ING)?|FUTURE|INVAL(ID_REG)?|NOT_RESPONDING|UNKNOWN")
# Partitions of shorter jobs are for trying things out, and often take one job of a user at a time.
SHORTEST_MINUTES = 60
# A training uses no more on one node.
MOST_GPUS = 4
# NVIDIA's name of a part of a GPU, as in a100_3g.20gb. A process sees one such part only.
MIG = re.compile(r"\d+g\.\d+gb")
# The only names of types that the plugin passes on.
MODEL = re.compile(r"[A-Za-z0-9_.]+")
# What YAML reads as this text and as nothing else.
PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z][\w.-]*", re.IGNORECASE)
NAMED_NODES = 4
DIGITS = 12
MARK = "# Unedited as long as this is the digest of the lines below: "
HEADER = """\
# What your cluster grants one job: the only file to edit. `python -m msdiff cluster propose` wrote it.
# One line per partition, under the name that `sinfo` shows; a partition that is left out is never used. A job goes
# where it fits most tightly. The limits of a line hold together on one node:
#   max_runtime            minutes: MaxTime of the partition; left out where it has none
#   max_mem_mb             megabytes: RealMemory less MemSpecLimit of the node, at most MaxMemPerNode of the partition
#   max_threads            CPUs of the node, at most MaxCPUsPerNode of the partition
#   max_gpu                GPUs of the node that are of one type; without it a partition gets no GPU job
#   available_gpu_models   their types, as `sinfo -o %G` shows them; the first one in this file is what is asked for.
#                          Left out where GPUs have no type.
# Requests grow with the attempt, but not beyond the largest partition of their kind.
# An account or QOS may be allowed less: sacctmgr show assoc user=NAME; sacctmgr show qos
"""

Fields = dict[str, str]


class Node(NamedTuple):
    """What one node offers; GPUs by type, "" for those without one."""

    name: str
    state: str
    usable: bool
    cores: int
    memory_mb: int
    gpus: dict[str, int]
    source: str


class Offer(NamedTuple):
    """What a job may ask for on one node; no models where the cluster names none."""

    minutes: float
    memory_mb: int
    cores: int
    gpus: int
    models: tuple[str, ...]


class PartitionEntry(NamedTuple):
    """A partition: its best offer first, then those that this one does not cover.

    comments        where the numbers are from, and what to know, one line each
    left_out        why it is not proposed, None where it is
    """

    name: str
    offers: tuple[Offer, ...]
    comments: tuple[str, ...]
    left_out: str | None


class RuleRequest(NamedTuple):
    """The most that a rule's jobs ask for; or submissions of several jobs, named by all their rules."""

    rule: str
    gpus: int
    memory_mb: int
    cores: int
    minutes: int
    together: bool = False


# What may be too much: in words, and how Snakemake is told to ask for less.
DIMENSIONS = {
    "gpus": ("GPUs on one node", "--set-resources", "{rule}:gpu={most:.0f}"),
    "memory_mb": ("MB of memory", "--set-resources", "{rule}:mem_mb={most:.0f}"),
    "cores": ("cores", "--set-threads", "{rule}={most:.0f}"),
    "minutes": ("minutes", "--set-resources", "{rule}:runtime={most:.0f}"),
}


class _Cluster(NamedTuple):
    """Slurm's answers, read; `own` are the user's groups, accounts and QOS by the field that allows them."""

    partitions: dict[str, Fields]
    nodes: dict[str, list[Node]]
    preempts: bool
    own: dict[str, set[str]]


def ask() -> dict[str, str]:
    """The answers to QUESTIONS; raises BadInput where there is no Slurm, or none that answers."""
    answers = {}
    for name, words in QUESTIONS.items():
        command = [word.format(user=getpass.getuser()) for word in words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            if name in OPTIONAL:
                continue
            raise BadInput(
                f"{command[0]}: no such program; run this where jobs are submitted to Slurm (a login node)"
            ) from error
        if done.returncode == 0:
            answers[name] = done.stdout
        elif name not in OPTIONAL:
            raise BadInput(
                f"{' '.join(command)}: expected Slurm's answer, got: {' '.join(done.stderr.split())}; "
                "see that the cluster is up and run this again"
            )
    return answers


def propose(answers: Mapping[str, str]) -> list[PartitionEntry]:
    """The partitions with the strongest nodes first, so that the first type of GPU is theirs."""
    cluster = _read(answers)
    closed = {name: next(_reasons(cluster, name), None) for name in cluster.partitions}
    entries = []
    for name, partition in cluster.partitions.items():
        offers = tuple(_offers(partition, [node for node in cluster.nodes[name] if node.usable]))
        pushed = [other for other in _weaker(cluster, name) if closed[other] is None]
        left_out = closed[name] or (f"its jobs push those of {_list(pushed)} aside" if pushed else None)
        comments = () if left_out else tuple(_comments(cluster, name, offers))
        entries.append(PartitionEntry(name, offers, comments, left_out))
    return sorted(entries, key=lambda entry: [-number for offer in entry.offers[:1] for number in _rank(offer)])


def file_text(entries: Iterable[PartitionEntry]) -> str:
    """The proposal as it is written; left out partitions are comments in it."""
    lines, left_out = ["partitions:"], []
    for name, offers, comments, reason in entries:
        values = [f"{_quoted(name)}: {_value(offer)}" for offer in offers]
        if reason is not None:
            left_out += [f"  # {_quoted(name)}: {reason}", *[f"  # {value}" for value in values[:1]]]
            continue
        lines += [f"  # {comment}" for comment in comments]
        lines += [f"  {values[0]}"]
        if values[1:]:
            lines += ["  # Other nodes of it have more of something, but not at once; in place of the line above:"]
            lines += [f"  # {value}" for value in values[1:]]
    if left_out:
        lines += ["  # Left out:", *left_out]
    body = HEADER + "\n".join(lines) + "\n"
    return f"{MARK}{digest(body)[:DIGITS]}\n{body}"


def edited(text: str) -> bool:
    """Whether a file was written or changed by somebody else."""
    first, _, body = text.partition("\n")
    return first != f"{MARK}{digest(body)[:DIGITS]}"


def requests(jobs: Iterable[PlannedJob]) -> list[RuleRequest]:
    """What submissions ask for, the most of each kind; jobs that run beside Snakemake are left out.

    In a submission of several jobs those of one rule run side by side, the rules one after the other.
    """
    submissions: dict[tuple[int | None, int], dict[str, list[PlannedJob]]] = {}
    for number, job in enumerate(jobs):
        if job.benchmark is not None:
            key = (None, number) if job.group is None else (job.group, 0)
            submissions.setdefault(key, {}).setdefault(job.rule, []).append(job)
    most: dict[str, RuleRequest] = {}
    for (group, _), rules in submissions.items():
        name = " + ".join(sorted(rules))
        gpus, memory_mb, cores = (
            max(sum(_asked(job, resource) for job in side_by_side) for side_by_side in rules.values())
            for resource in ("gpu", "mem_mb", "threads")
        )
        minutes = sum(max(_asked(job, "runtime") for job in side_by_side) for side_by_side in rules.values())
        before = most.get(name, RuleRequest(name, 0, 0, 0, 0))
        most[name] = RuleRequest(
            name,
            max(gpus, before.gpus),
            max(memory_mb, before.memory_mb),
            max(cores, before.cores),
            max(minutes, before.minutes),
            together=group is not None,
        )
    return list(most.values())


def _asked(job: PlannedJob, name: str) -> int:
    return job.threads if name == "threads" else int(job.resources.get(name, 0))


def misfits(asked: Iterable[RuleRequest], entries: Sequence[PartitionEntry]) -> list[str]:
    """One line for each request that no proposed partition takes, then one that says what to pass to Snakemake."""
    lines = []
    options: dict[str, list[str]] = {}
    for request in asked:
        offers = [entry.offers[0] for entry in entries if entry.left_out is None]
        for name, (words, option, value) in DIMENSIONS.items():
            wanted = getattr(request, name)
            most = max((getattr(offer, name) for offer in offers), default=0)
            offers = [offer for offer in offers if getattr(offer, name) >= wanted]
            if not offers:
                lines.append(f"{request.rule} asks for {wanted} {words}; where the rest fits there are {most:.0f}")
                if request.together:
                    lines[-1] += ": submit fewer patients together (--group-components)"
                else:
                    options.setdefault(option, []).append(value.format(rule=request.rule, most=most))
                break
    if options:
        given = " ".join(f"{option} {' '.join(values)}" for option, values in options.items())
        lines.append(f"so pass this to Snakemake, in place of what the profile sets: {given}")
    return lines


def _read(answers: Mapping[str, str]) -> _Cluster:
    partitions = [_fields(line) for line in answers["partitions"].splitlines() if line.startswith("PartitionName=")]
    nodes: dict[str, list[Node]] = {partition["PartitionName"]: [] for partition in partitions}
    for line in answers["nodes"].splitlines():
        fields = _fields(line)
        for name in fields.get("Partitions", "").split(","):
            if name in nodes:
                nodes[name].append(_node(fields))
    own = {
        "AllowGroups": set(answers["groups"].split()),
        "AllowAccounts": set(answers.get("accounts", "").split()),
        "AllowQos": set(answers.get("qos", "").replace(",", " ").split()),
    }
    preempts = re.search(r"^PreemptType\s*=\s*preempt/partition_prio", answers["config"], re.MULTILINE)
    return _Cluster({partition["PartitionName"]: partition for partition in partitions}, nodes, bool(preempts), own)


def _fields(line: str) -> Fields:
    """KEY=VALUE pairs of one line; the first counts, for comments at the end may hold anything."""
    fields: Fields = {}
    for key, value in re.findall(r"(?:^|\s)([A-Z]\w*)=(\S*)", line):
        fields.setdefault(key, value)
    return fields


def _node(fields: Fields) -> Node:
    # Behind a state: * does not answer; the others (powering up, rebooting, planned) pass.
    states = fields["State"].replace("*", "+NOT_RESPONDING").split("+")
    cores = "CPUEfctv" if "CPUEfctv" in fields else "CPUTot"
    memory_mb = int(fields["RealMemory"]) - (_number(fields.get("MemSpecLimit")) or 0)
    shown = [cores, "RealMemory", "MemSpecLimit", "Gres"]
    return Node(
        fields["NodeName"],
        fields["State"],
        not any(UNUSABLE.fullmatch(state.strip("~#!%$@^-")) for state in states),
        int(fields[cores]),
        int(memory_mb),
        gpus_of(fields.get("Gres", "")),
        " ".join(f"{key}={fields[key]}" for key in shown if key in fields and fields[key] != "(null)"),
    )


def gpus_of(gres: str) -> dict[str, int]:
    """The GPUs of a Gres field by type, "" where it names none; shards and other resources are not counted.

    gpu:a100:4(S:0,1),gpu:a100_3g.20gb:2(S:1),shard:a100:16 are four of a100 and two of a100_3g.20gb.
    """
    gpus: dict[str, int] = {}
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        kind, *rest = [word for word in entry.strip().split(":") if word != "no_consume"]
        if kind == "gpu":
            number = int(rest.pop()) if rest and rest[-1].isdigit() else 1
            model = rest[0] if rest else ""
            gpus[model] = gpus.get(model, 0) + number
    return gpus


def _offers(partition: Fields, nodes: Iterable[Node]) -> Iterator[Offer]:
    """What the kinds of nodes offer, the strongest first, without those that a stronger one covers."""
    kept: list[Offer] = []
    for offer in sorted({_offer(partition, node) for node in nodes}, key=_rank, reverse=True):
        if not any(_covers(stronger, offer) for stronger in kept):
            kept.append(offer)
            yield offer


def _offer(partition: Fields, node: Node) -> Offer:
    """Of several types of GPU, those of which a node has most; parts of GPUs only where there are no whole ones."""
    whole = {model: number for model, number in node.gpus.items() if not MIG.search(model)}
    counts = whole or dict.fromkeys(node.gpus, 1)
    gpus = max(counts.values(), default=0)
    most = [model for model, number in counts.items() if number == gpus]
    models = tuple(sorted(most)) if all(map(MODEL.fullmatch, most)) else ()
    cores = min(node.cores, _number(partition.get("MaxCPUsPerNode")) or inf)
    memory = min(
        node.memory_mb,
        _number(partition.get("MaxMemPerNode")) or inf,
        cores * (_number(partition.get("MaxMemPerCPU")) or inf),
    )
    return Offer(_minutes(partition["MaxTime"]), int(memory), int(cores), gpus, models)


def _rank(offer: Offer) -> tuple[int, ...]:
    return min(offer.gpus, MOST_GPUS), offer.memory_mb, offer.cores, offer.gpus


def _covers(one: Offer, other: Offer) -> bool:
    """Whether what fits the other fits this one."""
    return all(mine >= its for mine, its in zip(one[1:4], other[1:4], strict=True)) and {*one.models} >= {*other.models}


def _reasons(cluster: _Cluster, name: str) -> Iterator[str]:
    """Why a partition is left out."""
    partition, nodes = cluster.partitions[name], cluster.nodes[name]
    if partition["State"] != "UP":
        yield f"its state is {partition['State']}"
    for field, words in {"Hidden": "hidden", "RootOnly": "for root only", "ReqResv": "for reservations only"}.items():
        if partition.get(field) == "YES":
            yield words
    for field, own in cluster.own.items():
        allowed = _names(partition, field)
        # Without accounting nobody has accounts, and access cannot be judged.
        if allowed is not None and own and not allowed & own:
            yield f"not for you ({field}={partition[field]})"
    denied = _names(partition, "DenyAccounts") or set()
    if cluster.own["AllowAccounts"] and cluster.own["AllowAccounts"] <= denied:
        yield f"not for you (DenyAccounts={partition['DenyAccounts']})"
    if (_number(partition.get("MinNodes")) or 0) > 1:
        yield f"for jobs of {partition['MinNodes']} nodes and more"
    if not any(node.usable for node in nodes):
        yield f"no node that takes jobs ({_list(f'{node.name} {node.state}' for node in nodes) or 'it has none'})"
    if _minutes(partition["MaxTime"]) < SHORTEST_MINUTES:
        yield f"for jobs of at most {_minutes(partition['MaxTime']):.0f} minutes"
    stronger = _stronger(cluster, name)
    if stronger and partition["PreemptMode"] == "CANCEL":
        yield f"jobs of {_list(stronger)} cancel its own, and Snakemake would wait for them to come back"


def _comments(cluster: _Cluster, name: str, offers: Sequence[Offer]) -> Iterator[str]:
    """Where the numbers of a proposed partition are from, and what to know of it."""
    partition, nodes = cluster.partitions[name], cluster.nodes[name]
    limits = ["MaxTime", "DefaultTime", "MaxCPUsPerNode", "MaxMemPerNode", "MaxMemPerCPU"]
    set_limits = [field for field in limits if partition.get(field, "NONE") not in ("NONE", "UNLIMITED")]
    holders = [node for node in nodes if node.usable and _covers(_offer(partition, node), offers[0])]
    source = [holders[0].source, *(f"{field}={partition[field]}" for field in set_limits or limits[:1])]
    yield f"{_list(node.name for node in holders)}: {' '.join(source)}"
    lost = [f"{node.name} {node.state}" for node in nodes if not node.usable]
    if lost:
        yield f"not counted: {_list(lost)}"
    smaller = [node for node in nodes if node.usable and node not in holders]
    if smaller:
        yield f"{len(smaller)} of its nodes have less or other: {_list(node.name for node in smaller)}"
    gpus = holders[0].gpus
    if any(MIG.search(model) for model in gpus):
        yield "parts of a GPU (MIG): a process can use one"
    if gpus and not offers[0].models:
        yield "without a type, or with one that the plugin does not pass on: jobs ask for a number of GPUs"
    for field in cluster.own:
        if _names(partition, field) is not None:
            yield f"{field}={partition[field]}"
    if partition.get("QoS", "N/A") != "N/A":
        yield f"its QOS may allow less: sacctmgr show qos {partition['QoS']}"
    if partition.get("OverSubscribe") == "EXCLUSIVE":
        yield "a job gets the whole node"
    stronger = _stronger(cluster, name)
    if stronger:
        yield (
            f"jobs of {_list(stronger)} push its own aside (PreemptMode={partition['PreemptMode']} "
            f"GraceTime={partition['GraceTime']})"
        )


def _stronger(cluster: _Cluster, name: str) -> list[str]:
    """The partitions on the same nodes whose jobs push those of this one aside."""
    return [other for other in cluster.partitions if name in _weaker(cluster, other)]


def _weaker(cluster: _Cluster, name: str) -> list[str]:
    """The partitions on the same nodes whose jobs those of this one push aside."""
    nodes = {node.name for node in cluster.nodes[name]}
    tier = int(cluster.partitions[name]["PriorityTier"])
    return [
        other
        for other, fields in cluster.partitions.items()
        if cluster.preempts and int(fields["PriorityTier"]) < tier and fields["PreemptMode"] != "OFF"
        if not nodes.isdisjoint(node.name for node in cluster.nodes[other])
    ]


def _names(partition: Fields, field: str) -> set[str] | None:
    """The names that a field lists, None where it lists none or all."""
    value = partition.get(field, "ALL")
    return None if value in ("ALL", "(null)", "NONE") else set(value.split(","))


def _minutes(time: str) -> float:
    """Minutes of [DAYS-]HOURS:MINUTES:SECONDS, inf for UNLIMITED."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", time)
    if found is None:
        return inf
    days, hours, minutes, _ = (int(number or 0) for number in found.groups())
    return (days * 24 + hours) * 60 + minutes


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _list(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = len(listed) - NAMED_NODES
    return ", ".join(listed[:NAMED_NODES]) + (f" and {more} more" if more > 0 else "")


def _quoted(name: str) -> str:
    return name if PLAIN.fullmatch(name) else f'"{name}"'


def _value(offer: Offer) -> str:
    """The limits as a mapping of YAML."""
    values = {} if offer.minutes == inf else {"max_runtime": f"{offer.minutes:.0f}"}
    values |= {"max_mem_mb": f"{offer.memory_mb}", "max_threads": f"{offer.cores}"}
    if offer.gpus:
        values["max_gpu"] = f"{offer.gpus}"
    if offer.models:
        values["available_gpu_models"] = f"[{', '.join(map(_quoted, offer.models))}]"
    return "{" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}"
