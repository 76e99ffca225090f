"""Asking Snakemake: what it refuses ends in one line that says why."""

import pytest

from msdiff.cluster.workflow import ask_snakemake
from msdiff.errors import BadInput


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text('rule all:\n    output: "done"\n    shell: "touch {output}"\n')
    return tmp_path


@pytest.mark.workflow
def test_the_answer_is_what_snakemake_prints(folder):
    assert 'label = "all"' in ask_snakemake(["--dryrun", "--dag", "dot"], ["--cores", "1", "--", "all"])
    # Asking leaves no log behind that would pass for a run's.
    assert not list(folder.glob(".snakemake/log/*"))


@pytest.mark.workflow
def test_a_refusal_is_told_in_one_line(folder):
    with pytest.raises(BadInput, match=r"^snakemake nothing: .*No rule to produce nothing.*$"):
        ask_snakemake(["--dryrun", "--dag", "dot"], ["nothing"])
    with pytest.raises(BadInput, match=r"^snakemake --unheard-of: unrecognized arguments: --unheard-of$"):
        ask_snakemake(["--dryrun", "--dag", "dot"], ["--unheard-of"])
    with pytest.raises(BadInput, match=r"^snakemake --configfile x done: FileNotFoundError: [^\n]*'x'$"):
        ask_snakemake(["--dryrun"], ["--configfile", "x", "done"])
    with pytest.raises(BadInput, match=r"^snakemake --profile nowhere: Error: profile directory given \(nowhere\)"):
        ask_snakemake(["--dryrun"], ["--profile", "nowhere"])


def test_a_missing_program_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="no such program; activate the environment"):
        ask_snakemake([], [])
