"""What NET2 makes: forecasts of new lesions under a treatment, and the tables that judge them.

Its rules stand in forecasting.smk.
"""

FORECASTS = f"results/forecasting/{COHORT_OF['net2']}"
SLABS = expand(INDEXED_SLABS, cohort=COHORT_OF["net2"])
FORECASTERS = list(dict.fromkeys(draws["model"] for draws in DRAWS.values()))
FORECAST_WEIGHTS = {
    "lesion_prior": f"{FORECASTS}/prior/weights.safetensors",
    **{name: f"{FORECASTS}/{name}/weights.safetensors" for name in FORECASTERS},
}
# By purpose.
FORECAST_SCORES = {
    purpose: f"{FORECASTS}/forecasts/{purpose}/scores" for purpose in DRAWS
}
FORECAST_SHARDS = {
    purpose: forecast_shards(COHORT_OF["net2"], purpose) for purpose in DRAWS
}
SHOWN_SHARDS = [
    (purpose, shard)
    for purpose in ["test", "counterfactuals"]
    for shard in FORECAST_SHARDS[purpose]
]

SYSTEMS["net2"] = System(
    cohort=COHORT_OF["net2"],
    lacking=lacking_for_forecasts(COHORT_OF["net2"]),
    tables={
        "regional_accuracy": forecast_table(
            "validation",
            "test",
            sections=["forecasting/regional", "forecasting/monte_carlo"],
        ),
        "activity_prediction": forecast_table(
            "test", sections=["forecasting/monte_carlo"]
        ),
        "lesion_count": forecast_table("test"),
        "counterfactuals": forecast_table("counterfactuals"),
        "calibration": forecast_table("test", sections=["forecasting/calibration"]),
    },
    weights=FORECAST_WEIGHTS,
    histories={
        name: f"{os.path.dirname(path)}/history.csv"
        for name, path in FORECAST_WEIGHTS.items()
    },
    made=[
        *SLABS,
        *FORECAST_WEIGHTS.values(),
        *[shard for shards in FORECAST_SHARDS.values() for shard in shards],
        *FORECAST_SCORES.values(),
    ],
    figures={
        "--slabs": SLABS,
        "--forecasts": [
            (purpose, FORECAST_SCORES[purpose])
            for purpose in ["test", "heat_maps", "counterfactuals"]
        ],
        "--forecast-shards": SHOWN_SHARDS,
    },
    page={},
    provenance={"--slabs": SLABS},
    model_card={
        "--slabs": SLABS,
        "--forecasters": [(name, FORECAST_WEIGHTS[name]) for name in FORECASTERS],
    },
    datasheet={"--forecast-shards": SHOWN_SHARDS},
)
