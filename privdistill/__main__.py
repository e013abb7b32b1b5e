"""`python -m privdistill` is the command line. It knows nothing else."""

from privdistill.cli.main import main

if __name__ == "__main__":
    main()
