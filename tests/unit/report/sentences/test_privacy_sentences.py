from msdiff.report.sentences import say


def test_flagged_follow_ups_are_counted(privacy, run_of):
    text = say("privacy", run_of({"privacy": privacy}))
    assert "Pixel correlation: none of 240 follow-ups (0 %) lie nearer" in text
    assert "Learned embedding: 1 of 240 follow-ups (0.42 %) lies nearer" in text
    assert "median similarity 0.97 to 0.99" in text


def test_leakage_is_told(privacy, run_of):
    assert "No validation or test patient gave" in say("privacy", run_of({"privacy": privacy}))
    text = say("privacy", run_of({"privacy": privacy.assign(leaked_patients=2)}))
    assert "2 held-out patients gave the generator" in text
    assert "no number here that rests on held-out patients holds" in text
    assert "1 held-out patient gave" in say("privacy", run_of({"privacy": privacy.assign(leaked_patients=1)}))
