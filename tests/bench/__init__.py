"""`make bench`: ratios against named limits and peers, each measured in one run."""
