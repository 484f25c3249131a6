"""What a fit is shipped as: a graph that computes one method without this package."""
