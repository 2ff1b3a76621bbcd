"""What LightGBM's text of a model says of the columns that it was trained on."""

import re
from pathlib import Path

from features.errors import BundleError
from features.schema import FeatureSet


def model_names(feature_set: FeatureSet) -> list[str]:
    """What LightGBM calls the columns: it bears no commas, colons, quotes or brackets in a name."""
    return [f"{j}_{re.sub(r'[^0-9A-Za-z_.@/*()-]', ';', name)}" for j, name in enumerate(feature_set.names)]


def check_model(head: str, text: str, feature_set: FeatureSet, place: Path) -> None:
    """Refuse a model that was trained on other columns."""
    found = re.search(r"^feature_names=(.*)$", text, re.MULTILINE)
    if not found or found[1].split(" ") != model_names(feature_set):
        what = f"Head {head!r} of {place} was not trained on the columns of features.json."
        raise BundleError(what, "Restore the bundle or train it anew.")
