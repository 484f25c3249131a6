"""A DataFrame or array, and the tensors that a module sees."""
