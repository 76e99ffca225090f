"""The order of the page: its sections, and what each table and figure is called and may be taken for."""

from typing import NamedTuple


class Section(NamedTuple):
    """A section: its title, its tables and figures by name, and lists that are linked and not shown.

    A figure's name may go on after a slash, where there are several of a kind.
    """

    title: str
    tables: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


# In the order of an article. What is not listed comes last, under its own title.
SECTIONS = (
    Section("Cohort", ("cohort",)),
    Section("Generated follow-ups", ("image_quality", "ablation"), ("follow_ups", "image_quality", "ablation")),
    Section(
        "Detection of new lesions",
        ("augmentation", "augmentation_tests", "lesion_sizes"),
        ("augmentation", "lesion_sizes"),
        ("lesions",),
    ),
    Section(
        "Forecasts of new lesions under treatment",
        ("activity_prediction", "regional_accuracy", "lesion_count", "calibration", "counterfactuals"),
        ("forecasts", "heat_maps", "activity_prediction", "calibration", "one_patient", "counterfactuals"),
    ),
    Section(
        "Privacy", ("privacy",), ("privacy_similarities", "privacy_pairs_pixel_correlation", "privacy_pairs_embedding")
    ),
    Section("Reader study", ("reader_study",), ("reader_study",)),
    Section("Preprocessing", ("quality",), ("preprocessing",)),
    Section("Training and compute", ("compute",), ("losses", "previews")),
)
FURTHER = "Further results"
# The sections that show the scans themselves, and that link the page for readers.
SCANS_SECTION, READERS_SECTION = "Preprocessing", "Reader study"
# What a section without a table says.
NOTES = {READERS_SECTION: "No reader's answers are among this run's tables; the page for readers is ready."}
# Tables of a row per thing, too long for a page.
LISTS = tuple(name for section in SECTIONS for name in section.lists)

TITLES = {
    "ablation": "What each idea of the method buys",
    "activity_prediction": "Who will have new lesions, by treatment arm",
    "augmentation": "Detectors by the ratio of real to synthetic slices",
    "augmentation_tests": "Differences from real slices alone, tested",
    "calibration": "Whether forecast probabilities hold",
    "cohort": "New lesions by treatment arm",
    "compute": "Hours and memory by rule",
    "counterfactuals": "The same patients under every treatment",
    "image_quality": "Generated against real follow-ups",
    "lesion_count": "How many new lesions, by treatment arm",
    "lesion_sizes": "Detection by size of the lesion",
    "lesions": "every true and predicted lesion",
    "privacy": "Follow-ups against training scans of other patients",
    "quality": "Quality control of the scans",
    "reader_study": "What readers thought of the follow-ups",
    "regional_accuracy": "In which regions new lesions come",
}
FIGURE_SENTENCES = {
    "ablation": "A variant matters where its interval leaves 0, and only if it would again in another training.",
    "activity_prediction": "Within an arm the treatment helps no forecast; few active patients make a wide interval.",
    "augmentation": "A rise with the ratio shows a benefit only where the intervals separate.",
    "calibration": "A point far from the line with a wide interval shows nothing but its few patients.",
    "counterfactuals": "Forecasts that fall with efficacy show what the network learned of arms, not what a drug does.",
    "follow_ups": "Pictures show whether a lesion is where it was asked for; a few slices do not say how often it is.",
    "forecasts": "Forecasts are drawn, and each may be right in its way; a few do not say how often they are.",
    "heat_maps": "A true lesion on a likely place is one case; how often that is so, the tables tell.",
    "image_quality": "A copy has little error outside the lesions, too; the lesion panels tell generators from copies.",
    "lesion_sizes": "Few lesions of a size make a wide interval.",
    "losses": "A loss that falls shows that a network learned something, not that it learned what a reader wants.",
    "one_patient": "One patient: an illustration of what the network learned, which nothing can confirm.",
    "preprocessing": "The worst by one measure: a fault that both scans of a patient share does not show here.",
    "previews": "Drawn during the training from few patients; they show that it works, not how well.",
    "privacy_pairs_embedding": "Heads look alike; a copy shares the course of single gyri and old lesions.",
    "privacy_pairs_pixel_correlation": "Heads look alike; a copy shares the course of single gyri and old lesions.",
    "privacy_similarities": "A follow-up beyond the limit is a reason to look at the pair, not a proof of copying.",
}
# Of a wide table these columns stand on the page, and all under it; of the others all.
MAIN_COLUMNS = {
    "activity_prediction": ("source", "arm", "method", "n", "n_positive", "ap", "auc", "auc_difference"),
    "augmentation": (
        *("source", "generator", "architecture", "real_synthetic", "n", "seeds", "n_real", "n_synthetic", "dice"),
        *("lesion_recall", "lesion_precision", "lesion_f1", "false_positives_per_patient", "msseg2_f1"),
    ),
    "calibration": (
        *("source", "quantity", "bin", "n", "n_positive", "n_voxels", "n_positive_voxels", "predicted", "observed"),
        *("brier", "baseline_brier"),
    ),
    "privacy": (
        *("source", "generator", "measure", "n", "n_synthetic", "n_training", "nearest_similarity_median"),
        *("reference_p99", "flagged", "flagged_share", "baseline_flagged_share", "baseline_similarity_median"),
        *("real_similarity_median", "leaked_patients"),
    ),
    "regional_accuracy": (
        *("source", "region", "method", "n", "n_positive", "balanced_accuracy", "precision", "recall", "f1"),
        "balanced_accuracy_difference",
    ),
    "reader_study": (
        *("source", "generator", "reader", "kind", "n", "cases", "readers", "quality", "plausibility", "adherence"),
        *("quality_agreement", "plausibility_agreement", "adherence_agreement"),
    ),
}
# Of a long table the rows with these values stand on the page, and all under it.
MAIN_ROWS = {"augmentation_tests": ("metric", ("dice", "lesion_f1"))}
