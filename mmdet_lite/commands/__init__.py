"""The subcommands of the command line, a module a family: arguments, and one call each."""
