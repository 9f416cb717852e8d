"""Training strategies, one file each: what one pass over the training data is."""
