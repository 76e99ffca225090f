"""Write the schema of config.yaml, which Snakemake checks before the first job, from the typed settings of the stages.

The settings classes are the one place where types and ranges stand; a test holds the written schema to them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from msdiff.config_files import SIZES
from msdiff.settings import Settings
from msdiff.writing import whole_file

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
CONTRAST: Schema = {"type": "string", "pattern": "^[a-z0-9]+$"}
COUNT: Schema = {"type": "integer", "minimum": 1}
SEED: Schema = {"type": "integer", "minimum": 0}
SEEDS: Schema = {"type": "array", "minItems": 1, "uniqueItems": True, "items": SEED}
# A laboratory's own backend is named by its location, and its options are its own affair.
LOCATION = "^[A-Za-z0-9_.]+:[A-Za-z0-9_]+$"
OWN: Schema = {"pattern": LOCATION, "description": "MODULE:FUNCTION of your own"}
# Part of paths, and of the patterns that Snakemake finds them by.
NAME: Schema = {"pattern": "^[A-Za-z0-9_-]+$", "description": "a name of letters, digits, - and _"}
# Each has a rule file of its name.
SYSTEMS = ("long_ms_diff", "net2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--out", type=Path, required=True, help="workflow/schemas/config.schema.json")


def run(arguments: argparse.Namespace) -> None:
    """Write the schema."""
    with whole_file(arguments.out) as temporary:
        temporary.write_text(text())


def text() -> str:
    """The schema as it is written."""
    return json.dumps(config_schema(), indent=1) + "\n"


def config_schema() -> Schema:
    """JSON Schema (2020-12) of config.yaml; unknown keys are refused at every level."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **mapping(
            study=TEXT,
            systems={"type": "array", "items": {"enum": list(SYSTEMS)}, "minItems": 1, "uniqueItems": True},
            size={"enum": list(SIZES)},
            cohort=_cohort(),
            preprocess=_preprocess(),
            parcellation=_parcellation(),
            synthesis=_synthesis(),
            detection=_detection(),
            forecasting=_forecasting(),
            reader_study=_reader_study(),
            privacy=_privacy(),
            tables=_tables(),
        ),
    }


def mapping(optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """An object with these keys and no others; all are required but the optional ones."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def pluggable(common: type[Settings] | None = None, **backends: type[Settings]) -> Schema:
    """A part that names its backend and holds each backend's options, `common` ones included, under its name."""
    shared = section(common)["properties"] if common else {}
    options = {name: section(kind) for name, kind in backends.items()}
    for schema in options.values():
        schema["properties"] = shared | schema.get("properties", {})
        schema["required"] = [*shared, *schema.get("required", [])]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["backend"],
        "properties": {
            "backend": {"type": "string", "anyOf": [{"enum": list(backends)}, OWN]},
            **options,
        },
        "patternProperties": {LOCATION: {"type": "object"}},
    }


def section(kind: type[Settings], **parts: Schema) -> Schema:
    """The schema of a settings class, references resolved; `parts` stand for its pluggable or untyped fields."""
    schema = kind.model_json_schema()
    resolved: Schema = _resolve(schema, schema.get("$defs", {}))
    resolved.setdefault("properties", {}).update(parts)
    return resolved


def partial(schema: Any) -> Any:
    """A schema of which nothing is required: what may be laid over a section."""
    if isinstance(schema, list):
        return [partial(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A list under this key is the keyword's; under `properties` it would be a setting of that name, and no list.
    return {key: partial(item) for key, item in schema.items() if not (key == "required" and isinstance(item, list))}


def _resolve(node: Any, definitions: Schema) -> Any:
    """A schema without references, titles and descriptions."""
    if isinstance(node, list):
        return [_resolve(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolve(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
    # Under `properties`, keys are names of settings and all of them are kept.
    return {
        key: {name: _resolve(value, definitions) for name, value in item.items()}
        if key == "properties"
        else _resolve(item, definitions)
        for key, item in node.items()
        if key not in ("$defs", "title", "description")
    }


def _cohort() -> Schema:
    from msdiff.cohort.pairs import PairSettings
    from msdiff.cohort.splits import SplitSettings
    from msdiff.phantom.settings import PhantomSettings

    one = mapping(
        ("phantom", "parcellation"),
        sheet={"type": ["string", "null"]},
        contrasts={"type": "array", "minItems": 1, "uniqueItems": True, "items": CONTRAST},
        split=section(SplitSettings),
        pairs=section(PairSettings),
        phantom=section(PhantomSettings),
        # The one that reads no scan; the stage's own reads all of them alike.
        parcellation={"enum": ["template", None]},
    )
    return {"type": "object", "minProperties": 1, "propertyNames": NAME, "additionalProperties": one}


def _preprocess() -> Schema:
    from msdiff.preprocess import (
        ants,
        bias,
        brain_commands,
        deepbet,
        greedy,
        known_brains,
        normalisation,
        plain,
        registration,
        skull_stripping,
        whitestripe,
    )
    from msdiff.preprocess.quality import MEASURES, QualitySettings
    from msdiff.stack.writing import StackSettings

    # Lowest and highest accepted value of the measures that are judged.
    limit = section(QualitySettings)["properties"]["limits"]["additionalProperties"]
    limits = mapping(tuple(MEASURES), **dict.fromkeys(MEASURES, limit))
    return mapping(
        grid=section(registration.GridSettings),
        registration=pluggable(
            greedy=greedy.GreedyRegistrationOptions,
            ants=ants.AntsRegistrationOptions,
            plain=plain.PlainRegistrationOptions,
        ),
        bias=pluggable(ants=ants.BiasOptions, none=bias.NoOptions),
        skull_stripping=pluggable(
            skull_stripping.BrainOptions,
            deepbet=deepbet.DeepbetOptions,
            ants=ants.AntsSkullOptions,
            plain=plain.PlainSkullOptions,
            hd_bet=brain_commands.HdBetOptions,
            synthstrip=brain_commands.SynthStripOptions,
            given=known_brains.GivenOptions,
            stripped=known_brains.StrippedOptions,
        ),
        normalisation=pluggable(
            normalisation.GainOptions,
            percentile=normalisation.PercentileOptions,
            zscore=normalisation.ZscoreOptions,
            whitestripe=whitestripe.WhitestripeOptions,
        ),
        quality=section(QualitySettings, limits=limits),
        stack=section(StackSettings),
    )


def _parcellation() -> Schema:
    from msdiff.parcellation import atlas, freesurfer, plain, samseg, synthseg, template_maps
    from msdiff.parcellation.learning import ParcellatorSettings
    from msdiff.parcellation.regions import VolumeLimits

    stage = mapping(patients_per_job=COUNT, limits=section(VolumeLimits), training=section(ParcellatorSettings))
    backend = pluggable(
        atlas=atlas.AtlasOptions,
        plain=plain.PlainOptions,
        template=template_maps.TemplateOptions,
        synthseg=synthseg.SynthSegOptions,
        freesurfer=freesurfer.FreeSurferOptions,
        samseg=samseg.SamsegOptions,
    )
    backend["required"] = [*stage["required"], *backend["required"]]
    backend["properties"] = stage["properties"] | backend["properties"]
    return backend


def _synthesis() -> Schema:
    from msdiff.detection.mixes import MixSettings
    from msdiff.diffusion.variance import HybridSettings
    from msdiff.networks.conditional_unet import ConditionalUNetSettings
    from msdiff.sampling.nifti import ExportSettings
    from msdiff.synthesis.long_ms_diff.balance import BALANCES
    from msdiff.synthesis.long_ms_diff.options import (
        AuxiliarySettings,
        FixedSettings,
        FollowUpSettings,
        LongMSDiffSettings,
        PreviewSettings,
        ResidualSettings,
    )
    from msdiff.synthesis.long_ms_diff.plan import PlanSettings
    from msdiff.synthesis.scoring import ScoringSettings

    network = section(ConditionalUNetSettings)
    for given in ("in_channels", "out_channels"):
        del network["properties"][given]
        network["required"].remove(given)
    auxiliary = section(
        AuxiliarySettings, balance=pluggable(**{name: entry.settings for name, entry in BALANCES.items()})
    )
    sampler = _sampler()
    long_ms_diff = section(
        LongMSDiffSettings,
        target=pluggable(follow_up=FollowUpSettings, residual=ResidualSettings),
        network=network,
        objective=_objective(),
        variance=pluggable(fixed=FixedSettings, learned=HybridSettings),
        auxiliary=auxiliary,
        preview=section(PreviewSettings, sampler=sampler),
    )
    return mapping(
        generators={"type": "array", "minItems": 1, "uniqueItems": True, "items": TEXT},
        shards=mapping(mass=COUNT, held_out=COUNT),
        sample_batch=COUNT,
        auxiliary=mapping(slices=section(MixSettings), seed=SEED, detector=_detector("unet")),
        long_ms_diff=long_ms_diff,
        ablation=_ablation(long_ms_diff),
        plan=section(PlanSettings),
        sampler=sampler,
        nifti=section(ExportSettings),
        scoring=section(ScoringSettings),
    )


def _objective() -> Schema:
    from msdiff.diffusion.noise import SCHEDULES
    from msdiff.diffusion.objective import WEIGHTS, ObjectiveSettings

    return section(
        ObjectiveSettings,
        schedule=pluggable(**{name: entry.settings for name, entry in SCHEDULES.items()}),
        weight=pluggable(**{name: entry.settings for name, entry in WEIGHTS.items()}),
    )


def _sampler() -> Schema:
    from msdiff.diffusion.sampler import SAMPLERS, SamplerSettings

    return section(SamplerSettings, sampler=pluggable(**{name: entry.settings for name, entry in SAMPLERS.items()}))


def _ablation(generator: Schema) -> Schema:
    """Overrides of a generator's section; its seeds stand apart."""
    changes = partial(generator)
    for given in ("generator", "seed"):
        del changes["properties"][given]
    variants = {
        "type": "object",
        "required": ["complete"],
        "propertyNames": {"pattern": "^[a-z0-9_]+$"},
        "properties": {"complete": changes},
        # null takes a variant out.
        "additionalProperties": {"anyOf": [changes, {"type": "null"}]},
    }
    return mapping(seeds=SEEDS, common=changes, variants=variants)


def _detector(architecture: str) -> Schema:
    from msdiff.detection.detectors import DetectorSettings

    return section(
        DetectorSettings, architecture={"const": architecture}, network=section(_architectures()[architecture])
    )


def _architectures() -> dict[str, type[Settings]]:
    from msdiff.networks.bitemporal_unet import BitemporalUNetSettings
    from msdiff.networks.siamese_transformer import SiameseTransformerSettings

    return {"unet": BitemporalUNetSettings, "bit_resnet50": SiameseTransformerSettings}


def _detection() -> Schema:
    from msdiff.detection.mixes import MixSettings
    from msdiff.detection.scoring import DetectionSettings

    names = tuple(_architectures())
    return mapping(
        mixes={
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "pattern": "^([1-9][0-9]*-[0-9]+|0-[1-9][0-9]*)$"},
        },
        seeds=SEEDS,
        slices=section(MixSettings),
        detectors=mapping(names, **{name: _detector(name) for name in names}),
        scoring=section(DetectionSettings),
    )


def _forecasting() -> Schema:
    from msdiff.forecasting.options import ForecastingSettings, PriorSettings
    from msdiff.networks.pseudo_2d import Pseudo2DSettings

    return section(
        ForecastingSettings,
        network=pluggable(favero_589m=Pseudo2DSettings, demo=Pseudo2DSettings),
        prior=section(PriorSettings, objective=_objective()),
        sampler=_sampler(),
    )


def _reader_study() -> Schema:
    from msdiff.reader_study.answers import ImportSettings
    from msdiff.reader_study.design import StudyExportSettings

    files = {"type": "array", "uniqueItems": True, "items": TEXT}
    parts: dict[str, Schema] = {
        "export": section(StudyExportSettings),
        "import": section(ImportSettings),
        "answers": files,
    }
    return mapping((), **parts)


def _privacy() -> Schema:
    from msdiff.privacy.embedding import EmbeddingSettings
    from msdiff.privacy.slices import SliceSettings
    from msdiff.privacy.thresholds import NearestSettings, PictureSettings

    embedding = section(EmbeddingSettings)
    # Given beside it.
    del embedding["properties"]["slices"]
    embedding["required"].remove("slices")
    return mapping(
        slices=section(SliceSettings),
        embedding=embedding,
        nearest=section(NearestSettings),
        pictures=section(PictureSettings),
    )


def _tables() -> Schema:
    from msdiff.tables.layout import TableSettings

    return section(TableSettings)
