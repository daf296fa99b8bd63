"""Meanings of column headings, shown below tables and on the dashboard's help screen."""

from __future__ import annotations

from collections.abc import Iterable

MEANINGS = {
    "ACR": "average certified radius, with 0 for misclassified images and abstentions",
    "Clean": "% of clean images that the certified classifier predicts correctly (from draws: PREDICT at the same alpha)",
    "Abstain": "% of images without a certificate for any class",
    "At cap": "% of images whose radius is the largest that n and alpha allow: more draws would certify more",
    "Worst class": "certified accuracy (%) at the first radius, of the class where it is lowest",
    "Median": "distance, over images classified correctly; infinite for one without an adversarial image",
    "Mean": "distance, over those of them for which one was found",
    "Found": "% of them for which one was found",
}


def legend(heads: Iterable[str]) -> str:
    """A sentence that explains these headings where needed, in their order; else empty."""
    told = [f"{word}: {MEANINGS[word]}" for word in dict.fromkeys(heads) if word in MEANINGS]
    return f"Columns. {'. '.join(told)}." if told else ""
