"""The command line: parses, calls `pipeline`, renders. No logic, and nothing heavy is imported before it is needed."""
