"""Between Paddock and RecBole: its Config, its Dataset, its loaders, and its models as scorers."""
