"""The evaluation report: a page to look at a run's figures and pictures."""
