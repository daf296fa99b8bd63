"""ADRE-ADV (Feng, Wu, Chen, Zhang, Ning 2020, equations 12 and 13, Algorithm 1): ADRE at adversarial examples.

Images are attacked with the regularised objective, then trained on with the regularised loss, with the same
noises throughout. Steps follow the normalised gradient and images stay in [0, 1], as in SmoothAdv, which the
paper says it extends; equation 13 prints the bare gradient, with which steps of 2ε/M hardly move an image.
"""

from __future__ import annotations

from torch import Tensor, nn

from jobs.adversary import evaluating, gradient, pgd
from jobs.losses import log_of, mean_softmax, noisy_logits
from jobs.methods.adre_reg import regularised, runner_up_loss
from jobs.methods.smoothadv import warmed_up
from jobs.state import TrainingState


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """ADRE-REG's loss at x̃, which raises l_CE(Ĝ, y) − λ·l_CE(Ĝ, c*) within the ℓ2 ball."""
    p = state.parameters
    noise = state.noises(p["noises"])

    def objective(at: Tensor) -> Tensor:
        smoothed = mean_softmax(noisy_logits(model, at, noise))
        own = -log_of(smoothed.gather(1, y[:, None])[:, 0])
        raised: Tensor = own - p["lbd"] * runner_up_loss(smoothed, y, p["floor"])
        return raised

    epsilon = warmed_up(p["epsilon"], p["warmup"], state.epoch)
    with evaluating(model):
        adversarial = pgd(x, lambda at: gradient(objective, at), epsilon, p["steps"])
    return regularised(state, noisy_logits(model, adversarial, noise), y)
