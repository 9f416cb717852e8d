"""Training: strategies that run an epoch, the loop around them, stages, checkpoints."""
