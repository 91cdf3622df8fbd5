"""`python -m methods.cli VERB ...`, for launchers that want a module (torchrun, accelerate)."""

from methods.cli import main

main()
