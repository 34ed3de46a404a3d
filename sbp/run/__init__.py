"""One run's life: begin or resume, train, record, checkpoint, finish."""
