from msdiff.report.systems import say


def test_flagged_follow_ups_are_counted_beside_what_the_limit_flags_by_itself(privacy, run_of):
    text = say("privacy", run_of({"privacy": privacy}))
    assert "By pixel correlation none of 240 follow-ups (0 %) lie nearer" in text
    assert "By learned embedding 1 of 240 follow-ups (0.42 %) lies nearer" in text
    assert "what 1 % of the real slices of 6 held-out patients are beyond, so that about 2.4 flagged" in text


def test_what_the_baselines_explain_is_told(privacy, run_of):
    text = say("privacy", run_of({"privacy": privacy.assign(baseline_flagged_share=0.03)}))
    assert "(their median: 0.81); of their own baselines, which are real scans, 3 % do." in text


def test_likeness_to_the_own_baseline_is_told_apart(privacy, run_of):
    text = say("privacy", run_of({"privacy": privacy}))
    assert "a median similarity of 0.97 to its own baseline; a real one has 0.96." in text
    unmeasured = privacy.assign(real_similarity_median=float("nan"))
    assert "its own baseline" not in say("privacy", run_of({"privacy": unmeasured}))


def test_leakage_is_told(privacy, run_of):
    assert "No validation or test patient gave" in say("privacy", run_of({"privacy": privacy}))
    text = say("privacy", run_of({"privacy": privacy.assign(leaked_patients=2)}))
    assert "Two held-out patients gave the generator" in text
    assert "no number here that rests on held-out patients holds" in text
    assert "One held-out patient gave" in say("privacy", run_of({"privacy": privacy.assign(leaked_patients=1)}))
