"""What the words at the head of a table's columns mean: said below tables, and on the dashboard's help screen."""

from __future__ import annotations

from collections.abc import Iterable

MEANINGS = {
    "ACR": "average certified radius, 0 for an image that is classified wrongly or abstained on",
    "Clean": "% of images that the certified classifier gets right as they are (from draws: PREDICT at the same alpha)",
    "Abstain": "% of images without a certificate for any class",
    "At cap": "% of images whose radius is the largest that n and alpha allow: more draws would certify more",
    "Worst class": "certified accuracy (%) at the first radius, of the class where it is lowest",
    "Median": "distance, over images classified rightly; one without an adversarial image counts as far away",
    "Mean": "distance, over those of them for which one was found",
    "Found": "% of them for which one was found",
}


def legend(heads: Iterable[str]) -> str:
    """One sentence for the words among these that need it, in their order; empty where none does."""
    told = [f"{word}: {MEANINGS[word]}" for word in dict.fromkeys(heads) if word in MEANINGS]
    return f"Columns. {'. '.join(told)}." if told else ""
