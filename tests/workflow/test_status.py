"""`msdiff status` as a user without Slurm calls it."""

import pytest

from msdiff.__main__ import main

pytestmark = pytest.mark.workflow
SNAKEFILE = """
rule all:
    input: "results/weights", "results/table"

rule train:
    output: "results/weights"
    log: "results/logs/train.log"
    shell: "touch {output}"

rule report:
    output: "results/table"
    log: "results/logs/report.log"
    shell: "touch {output}"
"""


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "results/logs").mkdir(parents=True)
    return tmp_path


def test_status_counts_what_is_done_and_reads_the_logs(folder, capsys):
    (folder / "results/weights").touch()
    (folder / "results/logs/report.log").write_text("msdiff report: error: no tables; make them\n")
    assert main(["status", "--", "--cores", "1", "--", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["1 of 3 jobs done (33 %); failed: 1", "controller: none has run here"]
    assert lines[-4:] == [
        "failed",
        "  report  failed",
        "      msdiff report: error: no tables; make them",
        "      log: results/logs/report.log; mend what it says, then start the run again",
    ]


def test_what_snakemake_refuses_ends_in_one_line(folder, capsys):
    assert main(["status", "--", "nothing"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("msdiff status: error: snakemake nothing: ")
    assert "No rule to produce nothing" in line
