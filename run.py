"""One experiment: python run.py model=sasrec dataset=ml-100k seed=3."""

from experiments.commands.run import main

if __name__ == "__main__":
    main()
