"""The command line: commands, flags, printing, exit codes."""
