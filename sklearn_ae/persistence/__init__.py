"""Fitted estimators as files that hold data and no code."""
