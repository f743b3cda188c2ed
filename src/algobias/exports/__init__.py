"""A finished study for trackers of other people's: MLflow, W&B, TensorBoard, trackio; and as tables."""
