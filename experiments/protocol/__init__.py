"""What all models share: the split, the frozen candidates, the slices."""
