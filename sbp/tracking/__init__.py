"""Recording runs in MLflow, through an outbox on the disk: the only package that imports mlflow."""
