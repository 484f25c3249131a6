"""Likelihoods of the columns of a table."""
