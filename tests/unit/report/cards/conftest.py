import pandas as pd
import pytest

from msdiff.config_files import merged_config
from msdiff.report.provenance import record
from msdiff.report.record import Record, Weights
from msdiff.report.run import Run

CONFIG = merged_config(size="paper")


@pytest.fixture(scope="session")
def manifest():
    """Three follow-ups of two training patients, as a shard lists them."""
    rows = [("sub-0001", "sub-0002", 100.0), ("sub-0001", "sub-0002", 300.0), ("sub-0002", "sub-0001", 200.0)]
    table = pd.DataFrame(rows, columns=["baseline_subject", "mask_subject", "change_mm3"])
    return table.assign(
        sample=range(3), seed=7, change_flag=1, generator="long_ms_diff", weights_sha256="a" * 64,
        sampler="dpm_solver_2m", steps=20, guidance_weight=0.0,
    )  # fmt: skip


@pytest.fixture
def record_of(stack, manifest):
    """The record of a run with some tables, on the embedded cohort or, with a sheet, on another."""

    def build(tables, sheet=None):
        cohort = {**CONFIG["cohort"], "phantom": {**CONFIG["cohort"]["phantom"], "sheet": sheet}}
        config = {**CONFIG, "cohort": cohort}
        provenance = record(config) | {"sha256": {"stack": "b" * 64, "tables": {"augmentation": "c" * 64}}}
        description = {"settings": {"contrast": "flair", "pretrained": None}, "patients": ["sub-0001", "sub-0002"]}
        return Record(
            run=Run(tables, config, {"train": 2, "validation": 1, "test": 1}),
            provenance=provenance,
            scans=stack.scans,
            generators={"long_ms_diff": Weights(description, 637185, "a" * 64)},
            manifests={"long_ms_diff": manifest},
        )

    return build
