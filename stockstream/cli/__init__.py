"""The ``stockstream`` command, one file a subcommand."""
