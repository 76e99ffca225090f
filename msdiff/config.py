"""The whole config as one tree of typed settings, from which its JSON schema is written.

The leaves are the settings classes of the stages, where types, ranges and what they mean stand; here they are put
together, and each pluggable part gets the options of its backends by their names. The workflow checks the config by the
written schema (msdiff.config_check) and never imports this module, which knows every stage.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt

from msdiff.cohort.folds import KFoldSettings, LeaveOneOutSettings, ListSettings
from msdiff.cohort.pairs import PairSettings
from msdiff.cohort.splits import SplitSettings
from msdiff.detection.detectors import DetectorSettings
from msdiff.detection.mixes import MixSettings
from msdiff.detection.scoring import DetectionSettings
from msdiff.diffusion.noise import SCHEDULES
from msdiff.diffusion.objective import WEIGHTS, ObjectiveSettings
from msdiff.diffusion.sampler import SAMPLERS, SamplerSettings
from msdiff.forecasting.options import ForecastingSettings, PriorSettings
from msdiff.networks.bitemporal_unet import BitemporalUNetSettings
from msdiff.networks.conditional_unet import UNetSettings
from msdiff.networks.pseudo_2d import Pseudo2DSettings
from msdiff.networks.siamese_transformer import SiameseTransformerSettings
from msdiff.parcellation import atlas, freesurfer, samseg, synthseg, template_maps
from msdiff.parcellation import plain as plain_regions
from msdiff.parcellation.learning import ParcellatorSettings
from msdiff.parcellation.regions import ParcellationSettings
from msdiff.phantom.settings import PhantomSettings
from msdiff.preprocess import (
    ants,
    bias,
    brain_commands,
    deepbet,
    greedy,
    known_brains,
    normalisation,
    plain,
    whitestripe,
)
from msdiff.preprocess.quality import MEASURES, Limit, QualitySettings
from msdiff.preprocess.registration import GridSettings
from msdiff.preprocess.skull_stripping import BrainOptions
from msdiff.privacy.embedding import EncoderSettings
from msdiff.privacy.slices import SliceSettings
from msdiff.privacy.thresholds import NearestSettings, PictureSettings
from msdiff.reader_study.answers import ImportSettings
from msdiff.reader_study.design import StudyExportSettings
from msdiff.sampling.nifti import ExportSettings
from msdiff.schemas import Follows, OneOf, Over, Schema, json_schema
from msdiff.settings import Choice, Settings
from msdiff.stack.writing import StackSettings
from msdiff.synthesis.long_ms_diff.balance import BALANCES
from msdiff.synthesis.long_ms_diff.denoiser import TARGETS, VARIANCES
from msdiff.synthesis.long_ms_diff.options import AuxiliarySettings, LongMSDiffSettings, PreviewSettings
from msdiff.synthesis.plan import Item, PlanSettings
from msdiff.synthesis.scoring import ScoringSettings
from msdiff.tables.layout import TableSettings

UNIQUE = {"uniqueItems": True}
# What may be left out: only here has a setting a value in the code, none.
LEFT_OUT: Any = Field(default=None)

Text = Annotated[str, Field(min_length=1)]
# Part of paths, and of the patterns that Snakemake finds them by.
NAME = "^[A-Za-z0-9_-]+$"
Name = Annotated[str, Field(pattern=NAME, description="a name of letters, digits, - and _")]
Contrast = Annotated[str, Field(pattern="^[a-z0-9]+$")]
Mix = Annotated[str, Field(pattern="^([1-9][0-9]*-[0-9]+|0-[1-9][0-9]*)$")]
Seeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1, json_schema_extra=UNIQUE)]


class CohortSection(Settings):
    """A cohort of section `cohort`, by its name; `sheet` of null: simulated from the numbers of `phantom`."""

    sheet: str | None
    contrasts: Annotated[tuple[Contrast, ...], Field(min_length=1, json_schema_extra=UNIQUE)]
    split: SplitSettings
    folds: (
        Annotated[Choice, OneOf({"leave_one_out": LeaveOneOutSettings, "k_fold": KFoldSettings, "list": ListSettings})]
        | None
    ) = LEFT_OUT
    pairs: PairSettings
    # In place of preprocess.grid and preprocess.patients_per_job.
    grid: GridSettings | None = LEFT_OUT
    patients_per_job: PositiveInt | None = LEFT_OUT
    phantom: PhantomSettings = LEFT_OUT
    # The one that reads no scan; the stage's own reads all of them alike.
    parcellation: Literal["template"] | None = LEFT_OUT


class Quality(QualitySettings):
    """Section `preprocess.quality`, with the measures that may be judged."""

    limits: Annotated[dict[str, Limit], Field(json_schema_extra={"propertyNames": {"enum": list(MEASURES)}})]


class Preprocess(Settings):
    """Section `preprocess`."""

    patients_per_job: PositiveInt
    grid: GridSettings
    registration: Annotated[
        Choice,
        OneOf(
            {
                "greedy": greedy.GreedyRegistrationOptions,
                "ants": ants.AntsRegistrationOptions,
                "plain": plain.PlainRegistrationOptions,
            }
        ),
    ]
    bias: Annotated[
        Choice,
        OneOf(
            {
                "ants": ants.BiasOptions,
                "none": bias.NoOptions,
            }
        ),
    ]
    skull_stripping: Annotated[
        Choice,
        OneOf(
            {
                "deepbet": deepbet.DeepbetOptions,
                "ants": ants.AntsSkullOptions,
                "plain": plain.PlainSkullOptions,
                "hd_bet": brain_commands.HdBetOptions,
                "synthstrip": brain_commands.SynthStripOptions,
                "given": known_brains.GivenOptions,
                "stripped": known_brains.StrippedOptions,
            },
            common=BrainOptions,
        ),
    ]
    normalisation: Annotated[
        Choice,
        OneOf(
            {
                "percentile": normalisation.PercentileOptions,
                "zscore": normalisation.ZscoreOptions,
                "whitestripe": whitestripe.WhitestripeOptions,
            },
            common=normalisation.GainOptions,
        ),
    ]
    quality: Quality
    stack: StackSettings


class ParcellationSection(ParcellationSettings):
    """Section `parcellation`: the stage's own numbers stand beside its backends."""

    training: ParcellatorSettings


REGIONS = {
    "atlas": atlas.AtlasOptions,
    "plain": plain_regions.PlainOptions,
    "template": template_maps.TemplateOptions,
    "synthseg": synthseg.SynthSegOptions,
    "freesurfer": freesurfer.FreeSurferOptions,
    "samseg": samseg.SamsegOptions,
}


class UNetDetector(DetectorSettings):
    """The bi-temporal UNet."""

    architecture: Literal["unet"]
    network: Annotated[dict[str, Any], Follows(BitemporalUNetSettings)]


class TransformerDetector(DetectorSettings):
    """BIT on a ResNet-50."""

    architecture: Literal["bit_resnet50"]
    network: Annotated[dict[str, Any], Follows(SiameseTransformerSettings)]


class ObjectiveSection(ObjectiveSettings):
    """What a diffusion model is trained for, with its schedules and weights."""

    schedule: Annotated[Choice, OneOf(SCHEDULES)]
    weight: Annotated[Choice, OneOf(WEIGHTS)]


class SamplerSection(SamplerSettings):
    """How samples are made, with all samplers."""

    sampler: Annotated[Choice, OneOf(SAMPLERS)]


class Balanced(AuxiliarySettings):
    """The auxiliary loss, with its balances."""

    balance: Annotated[Choice, OneOf(BALANCES)]


class Preview(PreviewSettings):
    """Samples while it trains."""

    sampler: SamplerSection


class LongMSDiffSection(LongMSDiffSettings):
    """Section `synthesis.long_ms_diff`; what the network takes in and gives out follows from the rest."""

    target: Annotated[Choice, OneOf(TARGETS)]
    network: Annotated[dict[str, Any], Follows(UNetSettings)]
    objective: ObjectiveSection
    variance: Annotated[Choice, OneOf(VARIANCES)]
    auxiliary: Balanced
    preview: Preview


Changes = Annotated[dict[str, Any], Over(LongMSDiffSection, without=("generator", "seed"))]


class Variants(Settings):
    """What is laid over Long-MS-Diff for each variant; null takes one out, but not the complete one."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"propertyNames": {"pattern": "^[a-z0-9_]+$"}})
    __pydantic_extra__: dict[str, Changes | None]

    complete: Changes


class Ablation(Settings):
    """Section `synthesis.ablation`: trainings of variants of Long-MS-Diff; `common` is laid over it for all of them."""

    seeds: Seeds
    common: Changes
    variants: Variants


class Auxiliary(Settings):
    """Section `synthesis.auxiliary`: the detector whose loss a generator takes in."""

    slices: MixSettings
    seed: NonNegativeInt
    detector: UNetDetector


class Shards(Settings):
    """Jobs that each plan is sampled in."""

    mass: PositiveInt
    held_out: PositiveInt


class OwnGenerator(Settings):
    """The section of a generator from elsewhere: its module, what it samples, and what the module takes."""

    model_config = ConfigDict(extra="allow")

    module: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
    item: Item


class Synthesis(Settings):
    """Section `synthesis`; beside its own keys a generator from elsewhere under the name that `generators` lists."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"propertyNames": {"pattern": NAME}})
    __pydantic_extra__: dict[str, OwnGenerator]

    generators: Annotated[tuple[Name, ...], Field(min_length=1, json_schema_extra=UNIQUE)]
    shards: Shards
    sample_batch: PositiveInt
    auxiliary: Auxiliary
    long_ms_diff: LongMSDiffSection
    ablation: Ablation
    plan: PlanSettings
    sampler: SamplerSection
    nifti: ExportSettings
    scoring: ScoringSettings


class Detectors(Settings):
    """Section `detection.detectors`."""

    unet: UNetDetector = LEFT_OUT
    bit_resnet50: TransformerDetector = LEFT_OUT


class Detection(Settings):
    """Section `detection`."""

    mixes: Annotated[tuple[Mix, ...], Field(min_length=1, json_schema_extra=UNIQUE)]
    seeds: Seeds
    slices: MixSettings
    detectors: Detectors
    scoring: DetectionSettings


class PriorSection(PriorSettings):
    """Section `forecasting.prior`."""

    objective: ObjectiveSection


class Forecasting(ForecastingSettings):
    """Section `forecasting`."""

    network: Annotated[Choice, OneOf({"favero_589m": Pseudo2DSettings, "demo": Pseudo2DSettings})]
    prior: PriorSection
    sampler: SamplerSection


class ReaderStudy(Settings):
    """Section `reader_study`."""

    export: StudyExportSettings
    import_: Annotated[ImportSettings, Field(alias="import")]
    answers: Annotated[tuple[Text, ...], Field(json_schema_extra=UNIQUE)]


class Privacy(Settings):
    """Section `privacy`."""

    slices: SliceSettings
    embedding: EncoderSettings
    nearest: NearestSettings
    pictures: PictureSettings


class Config(Settings):
    """The whole config.

    study               the cohort that is run
    systems             that run; each has a rule file of its name
    size                which file of workflow/config/sizes is laid over the stages' numbers
    """

    study: Text
    systems: Annotated[tuple[Literal["long_ms_diff", "net2"], ...], Field(min_length=1, json_schema_extra=UNIQUE)]
    size: Literal["demo", "small", "paper"]
    cohort: Annotated[dict[Name, CohortSection], Field(min_length=1)]
    preprocess: Preprocess
    parcellation: Annotated[ParcellationSection, OneOf(REGIONS, stage=ParcellationSection)]
    synthesis: Synthesis
    detection: Detection
    forecasting: Forecasting
    reader_study: ReaderStudy
    privacy: Privacy
    tables: TableSettings


def config_schema() -> Schema:
    """JSON Schema (2020-12) of the whole config; unknown keys are refused at every level."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **json_schema(Config)}
