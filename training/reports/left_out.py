"""What a report has no chapter of, and why: an empty place is not told from a chapter that was forgotten."""

import numpy as np

from training.judging.figures import OURS
from training.reports import chapters
from training.reports.findings import Findings


def left_out(found: Findings) -> str:
    """Which chapters are not on the page, and why; where nothing was judged the head of the page has said so."""
    if found.unjudged:
        return ""
    parts = [row for row in found.rows if row.slice != "all" and row.metric == "gauc" and row.system == OURS]
    few, asked = f"none has {chapters.FEWEST} positives and pairs", "<code>huozhao report --baselines</code>"
    missing = (
        (not found.rows, "Figures beside other systems", "nothing was compared"),
        (not found.reliability, "Reliability curves", f"no head has {chapters.FEWEST} positives"),
        (not any(np.isfinite(row.value) for row in parts), "Parts of the impressions, the weakest first",
         few),
        (not chapters.cold(found), "New people and items", f"{few} beside another system"),
        (not chapters.exposure(found), "Who is on top, by duration", "too few pages have two videos of known duration"),
        (not chapters.watch(found), "Predicted watch times", f"{asked} fits them, where anybody watched"),
        (not found.retrieval, "What sources find", f"{asked} judges it"),
        (not found.drift, "How far columns have moved", "how they lay in training was not kept"),
        (found.changes is None, "Changes", "there was no bundle before, or it cannot be read"),
    )  # fmt: skip
    lines = [f"<li>{what}: {why}.</li>" for is_missing, what, why in missing if is_missing]
    title = f"<summary>Chapters that are not on this page: {len(lines)}</summary>"
    return f'<details>{title}<ul class="note">{"".join(lines)}</ul></details>' if lines else ""
