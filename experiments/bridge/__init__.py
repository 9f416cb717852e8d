"""Between Paddock and RecBole: its Config, its Dataset, its loaders, and its models as scorers.

Importing this package applies the work-rounds of `models`, before any module of it imports RecBole.
"""

import models  # noqa: F401
