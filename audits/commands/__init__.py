"""What `python -m audits` can do besides an audit: one module per sub-command, with `main(arguments) -> exit code`."""

__all__: list[str] = []
