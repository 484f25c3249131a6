"""What is minimised: losses, terms, priors, and integrals over codes."""
