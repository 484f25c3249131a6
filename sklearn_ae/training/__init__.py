"""How models are trained: phases, batches, the step and its replay, the skorch net, and stacks of models."""
