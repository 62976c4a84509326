"""A trained detector as a graph that runs without this package."""
