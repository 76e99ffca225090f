"""Does a generator hand out its training patients? Nearest training follow-ups, and a check of who fed what.

    leakage     no held-out patient stands behind a sample, in the training list of generator or auxiliary detector, or
                under another name in the training scans
    nearest     of every synthetic follow-up the most similar training follow-up of another patient, by pixels and by a
                learned embedding, against the same for real follow-ups of patients that no training saw

References: Dar et al., arXiv 2402.01054 (2024); DeepSSIM, Scardace et al., arXiv 2509.16582 (2025).
"""
