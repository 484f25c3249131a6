"""What is computed: torch modules."""
