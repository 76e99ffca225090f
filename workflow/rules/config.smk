"""The config of all files and of the command line, checked before anything else."""

import json
import os
import sys
from pathlib import Path

from snakemake.cli import get_profile_dir

from msdiff.config_check import coerced, fault, one_of, texts_of
from msdiff.config_files import chosen, merged_config, read_yaml
from msdiff.errors import BadSettings


def stop(message):
    """End with one line on stderr and exit code 2, as every command does on bad input."""
    sys.stderr.write(f"msdiff: error: {' '.join(message.split())}\n")
    sys.exit(2)


def schema(name):
    """The JSON schema of that name."""
    with open(workflow.source_path(f"../schemas/{name}.schema.json")) as file:
        return json.load(file)


def check(values, kind, name):
    """Stop unless the values follow workflow/schemas/{kind}.schema.json."""
    if told := fault(values, schema(kind)):
        stop(f"{name}: {told}; correct it and run the same command again")


def values_of_profiles(words):
    """KEY=VALUE of the key `config` of the profiles on a command line.

    Where it gives --config, Snakemake leaves out those of a profile, and the demo would run at the papers' size.
    """
    given = [word.partition("=")[2] for word in words if word.startswith("--profile=")]
    given += [name for word, name in zip(words, words[1:]) if word == "--profile"]
    given = given or os.environ.get("SNAKEMAKE_PROFILE", "").split()
    values = []
    for name in given:
        # With --directory the run is elsewhere than where the command named the profile: mostly beside the Snakefile.
        places = [os.path.join(workflow.basedir, name), name]
        found = next(filter(None, map(get_profile_dir, places)), None)
        if found:
            own = read_yaml(Path(found[1])).get("config") or values
            if isinstance(own, dict):
                own = [f"{key}={value}" for key, value in own.items()]
            values = own
    return values


def whole_config():
    """The config of all files and of the command line; so far `config` holds what the command line gives."""
    run = workflow.config_settings
    if workflow.is_main_process:
        # Jobs that Snakemake starts of itself get the same.
        run.config_args = [*values_of_profiles(sys.argv), *run.config_args]
    page = Path("config.yaml")
    return merged_config(
        config,
        # In place of its texts.
        coerced(texts_of(run.config_args), schema("config")),
        root=Path(workflow.basedir),
        page=page if page.is_file() else None,
    )


try:
    config.update(whole_config())
except BadSettings as error:
    stop(f"config: {error}")
check(config, "config", "config")
# A generator's section names one of ours, or the module of one from elsewhere.
KNOWN_GENERATORS = [
    name
    for name, section in config["synthesis"].items()
    if isinstance(section, dict) and {"generator", "module"} & section.keys()
]
for generator in config["synthesis"]["generators"]:
    if generator not in KNOWN_GENERATORS:
        stop(f"config: synthesis.generators: {one_of(KNOWN_GENERATORS, generator)}")
