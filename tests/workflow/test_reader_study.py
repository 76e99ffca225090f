"""The table of the reader study is made when asked for, once there are answers."""

import re
import subprocess

import pytest

pytestmark = pytest.mark.workflow
TABLE = "results/tables/reader_study.csv"


def plan(checkout, environment, *options):
    command = ["snakemake", "--profile", "profiles/demo", "-n", TABLE, *options]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("answers", "message"),
    [("[]", "give results/reader_study/phantom/reader/ to them"), ('["none.csv"]', "no such file none.csv")],
)
def test_without_answers_it_says_in_one_line_what_to_do(checkout, environment, answers, message):
    run = plan(checkout, environment, "--config", f'reader_study={{"answers": {answers}}}')
    assert run.returncode == 2
    (line,) = [line for line in run.stderr.splitlines() if "error" in line]
    assert message in line


def test_with_answers_the_table_needs_nothing_to_be_computed_again(checkout, environment):
    run = plan(checkout, environment, "--config", 'reader_study={"answers": ["config.yaml"]}')
    assert run.returncode == 0, run.stderr
    table = re.search(r"^job\s+count\n-+\s+-+\n(.*?)^total", run.stdout, re.MULTILINE | re.DOTALL).group(1)
    assert {line.split()[0] for line in table.splitlines()} == {"import_reader_study", "reader_study"}
