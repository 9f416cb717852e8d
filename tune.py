"""One tuning study: python tune.py model=sasrec dataset=ml-100k study.n_trials=30."""

from experiments.tuning.cli import main

if __name__ == "__main__":
    main()
