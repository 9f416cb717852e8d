"""The one evaluator: scores become ranks, ranks become metrics of every user, these become means."""
