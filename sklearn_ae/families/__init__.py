"""What users choose: the estimators."""
