"""What a job asks for: it grows with the attempt, up to what a Slurm cluster's partitions grant.

Reads   profiles/slurm/partitions.yaml, where there is one; the names of the partitions are for the profile alone
"""

import yaml


def partitions():
    """The partitions of the cluster, each as a dict of limits; none without the file."""
    path = os.path.join(workflow.basedir, "profiles/slurm/partitions.yaml")
    if not os.path.isfile(path):
        return []
    try:
        with open(path, encoding="utf-8") as file:
            offered = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        stop(f"{path}: expected YAML, cannot read it ({error}); correct it")
    check(offered, "partitions", path)
    return list(offered["partitions"].values())


def largest(offers):
    """The partition with the longest jobs, of those the one with most memory: it takes what stays within its limits."""
    unlimited = {"max_runtime": float("inf"), "max_mem_mb": float("inf")}
    return max(
        [unlimited | partition for partition in offers],
        key=lambda partition: (partition["max_runtime"], partition["max_mem_mb"]),
        default=unlimited,
    )


PARTITIONS = partitions()
WITH_GPUS = [partition for partition in PARTITIONS if partition.get("max_gpu")]
WITHOUT_GPUS = [partition for partition in PARTITIONS if partition not in WITH_GPUS]
MODELS = [
    model
    for partition in WITH_GPUS
    for model in partition.get("available_gpu_models", [])
]
# GPUs without a type are asked for by their number alone. Who asks for GPUs asks for one node: Slurm counts those of a
# job over all its nodes, and gives two on each of two where no node has four free.
GPU_MODEL = MODELS[0] if MODELS else None
GPU_NODE = largest(
    [
        partition
        for partition in WITH_GPUS
        if GPU_MODEL in partition.get("available_gpu_models", [None])
    ]
)
CPU_NODE = largest(WITHOUT_GPUS or WITH_GPUS)
# A long training stops itself before each time limit and resumes from its newest checkpoint; each preemption takes an
# attempt too. Snakemake counts a rule's own retries inside a cluster's job as well, where a training that has stopped
# itself would start again with no time left: only who submits tries again.
TRAINING_RETRIES = 10 if workflow.is_main_process else 0
TRAINING_LIMIT = GPU_NODE["max_runtime"]
# For a training that did not stop itself in time: two minutes before the limit it is told to. On TERM it writes its
# checkpoint, and Snakemake waits; USR1 would end Snakemake at once, and with "B:" the shell around it.
STOP_SIGNAL = "--signal=TERM@120"


def growing(amount, times, limit):
    """A resource: the amount, a number or a function of the wildcards, times the attempt, `times` at most.

    What ended the attempt before may have been the lack of it. The growth ends at the limit; the amount itself is what
    the job needs, whether a partition grants it or not.
    """

    def asked(wildcards, attempt):
        first = amount(wildcards) if callable(amount) else amount
        return max(first, min(first * min(attempt, times), limit))

    return asked


def memory(megabytes, node=CPU_NODE, times=3):
    """The `mem_mb` of a job. A training, of many attempts without a fault, asks for twice as much and no more."""
    return growing(megabytes, times, node["max_mem_mb"])


def per_patient(amount):
    """A function of the wildcards: so many minutes for each patient of a batch."""
    return lambda wildcards: amount * len(BATCHES[wildcards.cohort][wildcards.batch])


def minutes(amount, node=CPU_NODE, times=3):
    """The `runtime` of a job that begins anew with each attempt."""
    return growing(amount, times, node["max_runtime"])
