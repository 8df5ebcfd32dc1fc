"""What a run leaves behind: files, metrics, pictures, cost, and its mirror in MLflow."""
