"""Published rows that public per-image logs give: recomputed here from the counts of their rows.

One line per row: table | method | σ | images in the log | of these certified at each radius of the table | sum of
the printed radii of right images (-: the table prints no ACR). The logs themselves are named by the rows' `source`.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from rsctl.report.baselines import PublishedRow, published_tables

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"

LOGS = """
sun2024-cifar10 | Gaussian | 0.25 | 10000 | 8043 6676 5051 3274 0 0 0 | 4866.879784
sun2024-cifar10 | Stability | 0.25 | 10000 | 7305 5891 4293 2677 0 0 0 | 4199.058652
sun2024-cifar10 | SmoothAdv | 0.25 | 10000 | 7397 6617 5670 4754 0 0 0 | 5452.9531678
sun2024-cifar10 | MACER | 0.25 | 10000 | 7872 6827 5594 4079 0 0 0 | 5287.684215
sun2024-cifar10 | Consistency | 0.25 | 10000 | 7578 6739 5751 4604 0 0 0 | 5465.056147
sun2024-cifar10 | SmoothMix | 0.25 | 10000 | 7713 6762 5683 4499 0 0 0 | 5429.724422
sun2024-cifar10 | CAT-RS | 0.25 | 10000 | 7630 6813 5879 4821 0 0 0 | 5616.279538
sun2024-cifar10 | ACR-weakness | 0.25 | 10000 | 7658 6905 5928 4828 0 0 0 | 5641.709968
sun2024-cifar10 | Gaussian | 0.5 | 10000 | 6875 5821 4622 3455 2452 1025 0 | 5706.2130338
sun2024-cifar10 | Stability | 0.5 | 10000 | 6210 5260 4273 3326 2383 976 0 | 5311.851222
sun2024-cifar10 | SmoothAdv | 0.5 | 10000 | 6641 5865 5080 4299 3513 2020 0 | 7030.6349034
sun2024-cifar10 | MACER | 0.5 | 10000 | 6465 5737 4949 4205 3402 1920 0 | 6798.657906
sun2024-cifar10 | Consistency | 0.5 | 10000 | 6413 5764 5034 4294 3591 2259 0 | 7156.5735
sun2024-cifar10 | SmoothMix | 0.5 | 10000 | 6060 5524 4931 4333 3761 2636 0 | 7383.5741958
sun2024-cifar10 | CAT-RS | 0.5 | 10000 | 6229 5679 5051 4459 3851 2710 0 | 7571.118203
sun2024-cifar10 | ACR-weakness | 0.5 | 10000 | 5927 5477 4958 4440 3887 2898 0 | 7602.671371
sun2024-cifar10 | Gaussian | 1 | 10000 | 5094 4349 3655 3005 2393 1374 655 | 5426.7607815
sun2024-cifar10 | Stability | 1 | 10000 | 4297 3776 3247 2753 2309 1474 771 | 5144.891618
sun2024-cifar10 | SmoothAdv | 1 | 10000 | 4357 4033 3705 3414 3069 2447 1880 | 7962.589973
sun2024-cifar10 | MACER | 1 | 10000 | 3946 3694 3457 3174 2890 2376 1855 | 7604.783604
sun2024-cifar10 | Consistency | 1 | 10000 | 4571 4199 3782 3374 2966 2286 1659 | 7566.5622325
sun2024-cifar10 | SmoothMix | 1 | 10000 | 4235 3939 3667 3342 3004 2391 1855 | 7877.04885
sun2024-cifar10 | CAT-RS | 1 | 10000 | 4317 4021 3725 3429 3099 2493 1930 | 8147.697572
sun2024-cifar10 | ACR-weakness | 1 | 10000 | 4203 3935 3652 3389 3112 2555 2062 | 8437.008504
cohen2019-cifar10 | Gaussian | 0.12 | 500 | 407 293 0 0 0 0 0 0 | 135.03791
cohen2019-cifar10 | Gaussian | 0.25 | 500 | 374 300 214 133 0 0 0 0 | 214.44182
cohen2019-cifar10 | Gaussian | 0.5 | 500 | 326 273 207 160 117 47 0 0 | 268.76644
cohen2019-cifar10 | Gaussian | 1 | 500 | 236 196 170 139 108 70 50 24 | 270.83055
salman2019-cifar10 | Gaussian | 0.12 | 10000 | 8317 5977 0 0 0 0 0 0 | 2758.24524
salman2019-cifar10 | Gaussian | 0.25 | 10000 | 7665 6116 4225 2506 0 0 0 0 | 4240.243174
salman2019-cifar10 | Gaussian | 0.5 | 10000 | 6568 5491 4279 3245 2197 826 0 0 | 5250.531844
salman2019-cifar10 | Gaussian | 1 | 10000 | 4715 4094 3377 2768 2213 1328 663 268 | 5105.145207
salman2019-cifar10 | SmoothAdv (PGD, 10 steps, m = 8, eps = 255/256) | 0.25 | 10000 | 7475 6669 5760 4778 0 0 0 0 | 5512.253744
salman2019-cifar10 | SmoothAdv (PGD, 10 steps, m = 2, eps = 512/256) | 0.5 | 10000 | 5310 4921 4489 4096 3722 2906 0 0 | 7173.110582
salman2019-cifar10 | SmoothAdv (PGD, 10 steps, m = 2, eps = 512/256) | 1 | 10000 | 4366 4033 3691 3377 3048 2396 1843 1336 | 7895.65583
consistency2020-cifar10 | Consistency (lambda = 20) | 0.25 | 10000 | 7584 6763 5813 4674 0 0 0 0 | 5518.514418
consistency2020-cifar10 | Consistency (lambda = 10) | 0.5 | 10000 | 6434 5749 5061 4316 3617 2284 0 0 | 7195.250806
consistency2020-cifar10 | Consistency (lambda = 10) | 1 | 10000 | 4627 4222 3807 3427 3004 2285 1661 1134 | 7563.154367
smoothmix2021-cifar10 | SmoothMix | 0.25 | 10000 | 7706 6790 5785 4673 0 0 0 0 | 5533.964861
smoothmix2021-cifar10 | SmoothMix (one-step adversary) | 0.25 | 10000 | 7418 6613 5739 4767 0 0 0 0 | 5482.35808
smoothmix2021-cifar10 | SmoothMix | 0.5 | 10000 | 6442 5717 4952 4229 3505 2296 0 0 | 7123.961753
smoothmix2021-cifar10 | SmoothMix (one-step adversary) | 0.5 | 10000 | 6350 5722 5050 4339 3671 2470 0 0 | 7356.497822
cohen2019-imagenet | Gaussian | 0.25 | 427 | 285 248 211 160 0 0 0 0 | 203.4815
cohen2019-imagenet | Gaussian | 0.5 | 500 | 286 259 229 212 186 143 0 0 | 366.25546
cohen2019-imagenet | Gaussian | 1 | 500 | 218 203 189 177 163 130 97 74 | 437.5795
salman2019-imagenet | Gaussian | 0.25 | 500 | 328 284 244 206 0 0 0 0 | 235.9016
salman2019-imagenet | Gaussian | 0.5 | 500 | 295 269 240 217 195 137 0 0 | 371.1564
salman2019-imagenet | Gaussian | 1 | 500 | 216 204 188 173 155 120 103 72 | 419.8321
salman2019-imagenet | SmoothAdv (PGD, 1 step, eps = 255/256) | 0.25 | 500 | 311 292 274 260 0 0 0 0 | 263.4461
salman2019-imagenet | SmoothAdv (PGD, 1 step, eps = 255/256) | 0.5 | 500 | 273 263 253 233 223 191 0 0 | 424.5525
salman2019-imagenet | SmoothAdv (PGD, 1 step, eps = 512/256) | 1 | 500 | 208 199 192 181 174 155 141 128 | 539.3087
consistency2020-imagenet | Consistency (lambda = 5, eta = 0.5) | 0.5 | 500 | 275 263 251 235 220 174 0 0 0 0 | 410.76705
consistency2020-imagenet | Consistency (lambda = 5, eta = 0.1) | 1 | 500 | 208 193 187 177 163 140 121 105 87 71 | 491.1578
adre2020-table1-cifar10 | Basic | 0.12 | 500 | 407 293 0 0 0 0 0 0 0 0 0 0 0 | -
adre2020-table1-cifar10 | Basic | 0.25 | 500 | 374 300 214 133 0 0 0 0 0 0 0 0 0 | -
adre2020-table1-cifar10 | Basic | 0.5 | 500 | 326 273 207 160 117 76 47 26 0 0 0 0 0 | -
adre2020-table1-cifar10 | Basic | 1 | 500 | 236 196 170 139 108 87 70 59 50 38 24 19 10 | -
adre2020-table1-imagenet | Basic | 0.25 | 427 | 285 248 211 160 0 0 0 0 0 0 0 0 0 | -
adre2020-table1-imagenet | Basic | 0.5 | 500 | 286 259 229 212 186 165 143 110 0 0 0 0 0 | -
adre2020-table1-imagenet | Basic | 1 | 500 | 218 203 189 177 163 145 130 112 97 85 74 63 61 | -
sodm2021-table1 | Cohen | 0.25 | 500 | 374 300 214 133 0 0 0 0 | 214.44182
sodm2021-table1 | SmoothAdv (PGD, 10 steps, m = 1, eps = 64/256) | 0.25 | 500 | 369 317 250 195 0 0 0 0 | 245.9112
sodm2021-table1 | SmoothAdv (PGD, 10 steps, m = 1, eps = 255/256) | 0.5 | 500 | 275 253 225 191 165 122 0 0 | 333.1779
sodm2021-table1 | Cohen | 1 | 500 | 236 196 170 139 108 70 50 24 | 270.83055
sodm2021-table1 | SmoothAdv (PGD, 10 steps, m = 1, eps = 255/256) | 1 | 500 | 228 215 191 165 146 111 77 60 | 375.7007
sodm2021-table1 | SmoothAdv (PGD, 10 steps, m = 1, eps = 64/256) | 1 | 500 | 246 203 179 154 127 89 59 38 | 315.8937
"""


def logs() -> dict[tuple[str, str, float], tuple[int, list[int], str]]:
    found = {}
    for line in LOGS.strip().splitlines():
        table, method, sigma, images, counts, radii = line.split(" | ")
        found[table, method, float(sigma)] = (int(images), [int(count) for count in counts.split()], radii)
    return found


def rows() -> list[tuple[str, PublishedRow]]:
    return [(name, table_row) for name, table in published_tables().items() for table_row in table.rows]


def half_unit(numbers: list[float | None]) -> Fraction:
    """Half of one unit in the last digit of the most precise of these numbers, as their table prints them."""
    digits = max(
        -int(Decimal(repr(one)).normalize().as_tuple().exponent) for one in numbers if one is not None
    )
    return Fraction(1, 2 * 10 ** max(0, digits))


def test_every_row_says_where_it_is_from_and_whether_it_was_recomputed() -> None:
    names = Counter((name, row.method, row.sigma) for name, row in rows())
    assert max(names.values()) == 1
    assert {key for key in names if key in logs()} == set(logs())
    for name, row in rows():
        assert row.source, (name, row)
        assert row.recomputed is ((name, row.method, row.sigma) in logs())
        # A log is named by its repository and its path there.
        assert row.recomputed is ("/" in row.source and ": data/" in row.source), (name, row)


def test_a_heading_says_how_much_of_its_table_is_recomputed() -> None:
    tables = published_tables()
    assert (
        "3 of 9 rows recomputed from public logs, 6 transcribed."
        in tables["adre2020-table1-imagenet"].heading
    )
    assert " rows recomputed" not in tables["cohen2019-cifar10"].heading


@pytest.mark.parametrize("name", published_tables())
def test_recomputed_rows_are_what_the_logs_give(name: str) -> None:
    table = published_tables()[name]
    cell = half_unit([value for row in table.rows for value in row.certified])
    mean = half_unit([row.acr for row in table.rows if row.acr is not None] or [0.5])
    for row in table.rows:
        if not row.recomputed:
            continue
        images, counts, radii = logs()[name, row.method, row.sigma]
        assert row.images in (images, None), (name, row)
        assert len(counts) == len(table.radii)
        for radius, count, printed in zip(table.radii, counts, row.certified, strict=True):
            assert printed is not None, (name, row.method, row.sigma, radius)
            exact = Fraction(100 * count, images)
            assert abs(exact - Fraction(repr(printed))) <= cell, (name, row.method, row.sigma, radius)
        assert (row.acr is None) == (radii == "-")
        if row.acr is not None:
            exact = Fraction(radii) / images
            assert abs(exact - Fraction(repr(row.acr))) <= mean, (name, row.method, row.sigma)


def test_smoothmix_with_and_without_the_one_step_adversary_are_two_rows() -> None:
    rows = {
        (row.sigma, row.settings["method.one_step"]): row
        for row in published_tables()["smoothmix2021-cifar10"].rows
    }
    assert (rows[0.25, True].certified[:4], rows[0.25, True].acr) == ([74.2, 66.1, 57.4, 47.7], 0.548)
    assert (rows[0.25, False].certified[:4], rows[0.25, False].acr) == ([77.1, 67.9, 57.9, 46.7], 0.553)
    assert all(row.source.endswith("_adv") is adversary for (_, adversary), row in rows.items())


@pytest.mark.parametrize(
    ("file", "table", "method", "sigma"),
    [
        ("cohen2019/cifar10-resnet110-noise_0.25-sigma_0.25.tsv", "salman2019-cifar10", "Gaussian", 0.25),
        ("cohen2019/cifar10-resnet110-noise_0.50-sigma_0.50.tsv", "salman2019-cifar10", "Gaussian", 0.5),
        (
            "smoothadv/cifar10-resnet110-pgd10-m8-eps255-noise_0.25-sigma_0.25.tsv",
            "salman2019-cifar10",
            "SmoothAdv (PGD, 10 steps, m = 8, eps = 255/256)",
            0.25,
        ),
    ],
)
def test_the_counts_are_those_of_the_logs(file: str, table: str, method: str, sigma: float) -> None:
    if not (REFERENCE / file).exists():
        pytest.skip(f"no public log at {REFERENCE / file}")
    radii = [
        Decimal(fields[3]) if fields[1] == fields[2] else None
        for fields in (line.split("\t") for line in (REFERENCE / file).read_text().splitlines()[1:])
    ]
    right = [radius for radius in radii if radius is not None]
    counts = [sum(radius >= Decimal(repr(at)) for radius in right) for at in published_tables()[table].radii]
    images, expected, total = logs()[table, method, sigma]
    assert (len(radii), counts, sum(right)) == (images, expected, Decimal(total))
