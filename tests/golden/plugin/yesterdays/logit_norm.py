"""A loss, with what the losses of rsctl's own methods use."""

from jobs.adversary import pgd
from jobs.losses import cross_entropies, kl, mean_softmax, noisy_logits
from jobs.state import TrainingState


def loss(model, x, y, state: TrainingState):
    logits = model(x + state.noise())
    both = noisy_logits(model, x, state.noises(2))
    mean = mean_softmax(both)
    consistency = kl(mean, logits).mean() + cross_entropies(both, y).mean()
    assert callable(pgd)
    penalty = logits.float().square().sum(dim=1).mean()
    return state.cross_entropy(logits, y) + state.parameters["weight"] * (penalty + 0 * consistency), logits
