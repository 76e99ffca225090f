"""The order of the page: its sections, and what each figure may be taken for; a table tells its title itself."""

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
