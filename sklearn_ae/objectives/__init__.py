"""What is minimised: losses, terms and kinds of column."""
