"""The command line: one small module per subcommand that parses, calls, renders and picks an exit code."""
