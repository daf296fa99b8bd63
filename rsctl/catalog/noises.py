"""The laws of noise; their draws are in `jobs.noise` and `jobs.splitting`, their certificates in `rsctl.certificates`."""

from __future__ import annotations

from dataclasses import dataclass

from rsctl.catalog.declare import Explained


@dataclass(frozen=True)
class NoiseLaw(Explained):
    """A law of noise, as the key `noise` of a sweep file names it."""

    name: str
    title: str
    citation: str


NOISES: tuple[NoiseLaw, ...] = (
    NoiseLaw(
        "gaussian",
        "Gaussian noise",
        "Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing, ICML 2019",
        about="Every pixel value gets an independent normal number of standard deviation sigma. It is the same in all directions, and "
        "its certificates are made for ℓ2.",
        use_when="By default. Its ℓ2 radii can be read in ℓ1 and, divided by √d, in ℓ∞.",
    ),
    NoiseLaw(
        "uniform",
        "Uniform noise",
        "Yang, Duan, Hu, Salman, Razenshteyn, Li: Randomized Smoothing of All Shapes and Sizes, ICML 2020",
        about="Every pixel value gets an independent number from the interval ±√3·sigma, whose standard deviation is sigma. Its certificates "
        "are made for ℓ1; there is one for ℓ∞ too.",
        use_when="For probabilistic radii in ℓ1.",
        example={"certification.certificates": ["uniform-l1"]},
    ),
    NoiseLaw(
        "laplace",
        "Laplace noise",
        "Teng, Lee, Yuan: ℓ1 Adversarial Robustness Certificates: a Randomized Smoothing Approach, 2020; Yang et al. 2020",
        about="Every pixel value gets an independent Laplace number of scale sigma/√2, whose standard deviation is sigma. Its certificate "
        "is made for ℓ1.",
        use_when="To compare with `uniform` in ℓ1.",
        example={"certification.certificates": ["laplace-l1"]},
    ),
    NoiseLaw(
        "splitting",
        "Splitting noise",
        "Levine, Feizi: Improved, Deterministic Smoothing for ℓ1 Certified Robustness, ICML 2021",
        about="No noise is added: the network sees, for every pixel, the middle of an interval of length 2√3·sigma that the pixel value lies in. "
        "All positions of the intervals are gone through, so nothing is estimated and radii are deterministic.",
        use_when="For ℓ1 radii without a failure probability, on images of 8 bits; it costs some 900·sigma passes per image.",
        example={"certification.certificates": ["splitting-l1"]},
    ),
    NoiseLaw(
        "generalised-gaussian",
        "Generalised Gaussian noise",
        "Li, Zhang, Xie, Li: Double Sampling Randomized Smoothing, ICML 2022",
        about="Gaussian noise whose norm varies more: density ∝ ‖ε‖^(-2k) exp(-‖ε‖²/2s²), with k the key `exponent` of a sweep file "
        '(`noise` stays "gaussian"). The standard deviation of a coordinate is still sigma.',
        use_when="For the certificates `dsrs` and `neyman-pearson`; DSRS takes k = 1530 for 3x32x32 images.",
        example={"exponent": 10, "certification.certificates": ["neyman-pearson"]},
    ),
)
