"""Model card and datasheet: what a run's own record answers of the questions that such papers ask.

What the record does not hold is said to be unanswered, never guessed; patients appear by number, never by name.
"""
