"""The `sbp` command and what its subcommands print."""
