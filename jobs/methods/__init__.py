"""One file per training method: its loss, under the name of its declaration in `rsctl/catalog/methods/`.

A method's module has one function, and may have a second:

    def loss(model, x, y, state) -> (value, logits)
    def prepare(model, state) -> Iterator[None]

`model` maps images in [0, 1] to logits, `x` is (B, C, H, W) float32, `y` is (B,) int64, `state` is a
`TrainingState`. `value` is the mean over these images of something that each image has by itself: several
processes then train what one does. `logits` (B, classes) are those that the training accuracy is counted on.

`prepare` runs once before the first step, and again when a training resumes. What it gives to `state.keep` (a
network, an optimiser, a table) is saved in every checkpoint and restored. Long work yields now and then: the
training may be saved or stopped there.

Randomness comes from `state.noise`, `state.uniform` and `state.normal` alone: they depend on the seed, the step
and the image, not on history or on the number of processes.
"""
