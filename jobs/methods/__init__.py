"""One file per training method: its loss, under the name of its declaration in `rsctl/catalog/methods/`.

A method's module has one function:

    def loss(model, x, y, state) -> (value, logits)

`model` maps images in [0, 1] to logits, `x` is (B, C, H, W) float32, `y` is (B,) int64, `state` is a
`TrainingState`. `value` is the mean loss of these images, `logits` (B, classes) those that the training
accuracy is counted on.
"""
