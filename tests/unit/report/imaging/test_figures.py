from msdiff.report.imaging.figures import plot_preprocessing


def test_the_pair_that_fits_worst_comes_first(stack):
    picture = plot_preprocessing(stack, "flair", 2)
    labels = [axis.get_ylabel() for axis in picture.figure.axes if axis.get_ylabel()]
    assert len(labels) == 2
    correlations = [float(label.split("r = ")[1]) for label in labels]
    assert correlations == sorted(correlations)
    # The patient without a change is the one whose scans agree best.
    assert not any("sub-0003" in label for label in labels)
