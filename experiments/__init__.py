"""The engine of Paddock: prepare, split, train, evaluate, track."""
