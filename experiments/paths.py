"""Where the parts of Paddock lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
MODELS = ROOT / "models"
