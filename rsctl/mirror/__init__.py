"""Training curves in other tools' files: TensorBoard, Weights & Biases, MLflow. Nothing depends on them."""
