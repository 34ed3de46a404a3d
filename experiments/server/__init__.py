"""MLflow on PostgreSQL for this machine: many jobs at once, and nothing lost when one of them goes down."""
