"""Colours of the report: those of Okabe & Ito (2008), which most colour-blind readers can tell apart."""

BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, YELLOW = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#56B4E9", "#D55E00", "#F0E442"),
)
# FreeSurfer's codes: white matter and brainstem, cortex, fluid, the cerebellum with them; other labels are deep grey.
REGION_COLOURS = {
    (2, 7, 16, 41, 46): SKY,
    (3, 8, 42, 47): ORANGE,
    (4, 5, 14, 15, 24, 43, 44): BLUE,
}
DEEP_GREY = GREEN
