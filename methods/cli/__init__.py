"""`dec2vec VERB ...`: one module a verb, imported only when it is called."""

import os
import sys
from importlib import import_module

VERBS = {
    "evaluate": "embed mteb tasks with a method and score them (Hydra: key=value, -m to sweep)",
    "train": "train a method by a recipe, into an adapter folder (Hydra: key=value, -m to sweep)",
    "report": "tables from what runs left behind",
    "cache": "the embeddings kept on disk: info, clear",
    "methods": "what methods there are, with their papers",
    "try": "how similar each method finds a few texts, within seconds",
}


def main() -> None:
    """Entry point of the `dec2vec` command."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in VERBS:
        sys.argv = [f"dec2vec {verb}", *sys.argv[2:]]
        import_module(f"methods.cli.{'try_' if verb == 'try' else verb}").main()
    elif verb == "-sc":
        _complete()
    elif verb in ("-h", "--help"):
        print("dec2vec: embeddings from decoder-only language models\n")
        for name, about in VERBS.items():
            print(f"  dec2vec {name:10} {about}")
    else:
        sys.exit(f"dec2vec has no verb {verb!r}; valid: {', '.join(VERBS)}")


def _complete() -> None:
    """Hydra's shell completion, for a command whose first word is a verb."""
    words = os.environ.get("COMP_LINE", "").split(" ")
    verb = words[1] if len(words) > 1 else ""
    if "query=bash" in sys.argv and verb not in ("evaluate", "train"):
        print(" ".join(VERBS))
        return
    os.environ["COMP_LINE"] = " ".join([*words[:1], *words[2:]])  # Hydra knows of no verbs
    sys.argv[0] = "dec2vec"
    import_module(f"methods.cli.{verb if verb == 'train' else 'evaluate'}").main()
