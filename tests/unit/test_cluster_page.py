"""What docs/cluster.md says is there: the profile's settings, commands, files."""

import re
from pathlib import Path

import yaml

from msdiff import __version__
from msdiff.cli import COMMANDS

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/cluster.md").read_text()


def test_every_setting_of_the_profile_has_its_reason_and_no_other_has():
    table = PAGE.split("## Every setting of the profile")[1].split("\n## ")[0]
    named = {
        name for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([\w-]+)[:`]", row)
    }
    settings = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert named - {"slurm-array-jobs"} == set(settings) - {"executor"}


def test_commands_of_the_page_exist():
    assert set(re.findall(r"python -m msdiff ([\w-]+)", PAGE)) == {"cluster", "plan", "status"} <= set(COMMANDS)


def test_files_of_the_page_exist():
    paths = set(re.findall(r"(?:envs|profiles)/[\w./]+\w", PAGE)) - {"envs/msdiff.sif"}
    assert {"envs/controller.yaml", "profiles/slurm/partitions.yaml"} <= paths
    assert all((ROOT / path).exists() for path in paths)


def test_the_shared_installation_is_this_version():
    assert set(re.findall(r"/shared/msdiff/(\d[\d.]*\d)", PAGE)) == {__version__}
