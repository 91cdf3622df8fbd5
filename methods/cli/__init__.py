"""`dec2vec VERB ...`: one module a verb, imported only when it is called.

A verb is a line in VERBS and a module of that name (or in MODULES) with `main()`. A verb that
computes by a config has a conf/VERB.yaml too, of which its --help is made.
"""

import os
import signal
import sys
from importlib import import_module
from typing import Any

VERBS = {
    "evaluate": "embed mteb tasks with a method on a model and score them",
    "train": "train a method by a recipe into an adapter folder",
    "encode": "encode the texts of files into vectors with their ids; resumable, by any processes",
    "synthesize": "make training and evaluation pairs from documents, or from nothing; resumable",
    "export": "write a method on a model as a folder that other programs load",
    "ask": "find the passages of your documents that answer a question; answer from them",
    "try": "compare methods on a few texts of yours, as a table",
    "compare": "compare two encoders stage by stage and name the first difference",
    "report": "make tables, figures and a page from the records of runs",
    "rerun": "rerun what a record states and report what differs",
    "methods": "list the methods, with their papers",
    "cache": "show or clear the embeddings cached on disk: info, clear",
}
CONFIGURED = (
    "evaluate",
    "train",
    "encode",
    "synthesize",
    "export",
)  # by conf/VERB.yaml, completed by Hydra
MODULES = {"try": "try_"}  # where a verb cannot be a module's name
HELP = ("-h", "--help", "help")
SPIN = "10000"  # turns that a thread of OpenMP waits for work before it sleeps
PRIMITIVES = "64"  # that oneDNN and its wrapper cache while files are encoded
RESUMES = {
    "evaluate": "finished tasks and cached vectors are safe; the same command resumes",
    "train": "the last checkpoint is safe; the same command resumes from it",
    "rerun": "finished tasks are safe; the same command resumes",
    "synthesize": "stored answers are safe; the same command resumes",
    "encode": "finished shards are safe; the same command resumes",
    "ask": "what is indexed is safe; the same command resumes",
}


def main() -> None:
    """Run the `dec2vec` command."""
    _limit_spinning()
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb == "encode":
        _limit_caches()
    interrupted: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        interrupted.append(number)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not the main thread: whoever started it handles signals
        pass
    try:
        _run(verb)
    except BaseException:  # some libraries turn an interrupt into an error of their own
        if not interrupted:
            raise
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one finds nothing to stop
        again = RESUMES.get(verb, "no file was left incomplete; run it again")
        print(f"\ndec2vec {verb}: interrupted; {again}".rstrip(), file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)  # threads and workers of libraries would print tracebacks


def _limit_spinning() -> None:
    """Let threads that wait for work sleep soon, unless the user has said how they wait.

    By default they spin, and on a machine that is busy beside us they take the time that the
    thread they wait for needs (tests/benchmarks/busy.py). OpenMP reads this when torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN)


def _limit_caches() -> None:
    """Bound what oneDNN caches of every shape it has computed, unless the user has said how much.

    Batches have new shapes as long as there are texts, and by default memory grew by a kilobyte a
    text over 200,000 of them. Both are read when torch is loaded.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, PRIMITIVES)


def _run(verb: str) -> None:
    from methods.cli import manual

    words = sys.argv[2:]
    if verb == "-sc":
        _complete()
    elif verb in ("", *HELP):
        print(manual.describe_verbs(VERBS))
    elif verb in ("-V", "--version", "version"):
        print(manual.describe_version())
    elif verb not in VERBS:
        sys.exit(_explain_unknown(verb))
    elif manual.has_config(verb) and any(word in HELP for word in words):
        print(manual.describe_verb(verb, VERBS[verb]))
    else:
        sys.argv = [f"dec2vec {verb}", *words]
        import_module(f"methods.cli.{MODULES.get(verb, verb)}").main()


def _explain_unknown(verb: str) -> str:
    """Return the message for a word that is no verb, with the command that was probably meant."""
    from methods.config.names import list_choices, list_groups
    from methods.fields import find_nearest_name

    rest = " ".join(sys.argv[2:])
    valid = f"dec2vec has no verb {verb!r}; valid: {', '.join(VERBS)}"
    if meant := find_nearest_name(verb, VERBS):
        value = sys.argv[2] if len(sys.argv) > 2 else ""
        if verb in list_groups("evaluate") and value in list_choices(verb):
            return f"{valid}. Did you mean: dec2vec evaluate {verb}={value}"
        return f"{valid}. Did you mean: dec2vec {meant} {rest}".rstrip()
    for group in list_groups("evaluate"):
        if verb in list_choices(group) or verb.startswith(f"{group}="):
            given = verb if "=" in verb else f"{group}={verb}"
            return f"{valid}. Did you mean: dec2vec evaluate {given} {rest}".rstrip()
    if verb in ("-m", "--multirun") or "=" in verb:
        return f"{valid}. Did you mean: dec2vec evaluate {verb} {rest}".rstrip()
    return f"{valid}. dec2vec --help says what they do"


def _complete() -> None:
    """Print Hydra's shell completion, for a command whose first word is a verb."""
    words = os.environ.get("COMP_LINE", "").split(" ")
    verb = words[1] if len(words) > 1 else ""
    if "query=bash" in sys.argv and verb not in CONFIGURED:
        print(" ".join(VERBS))
        return
    os.environ["COMP_LINE"] = " ".join([*words[:1], *words[2:]])  # Hydra knows of no verbs
    sys.argv[0] = "dec2vec"
    import_module(f"methods.cli.{verb if verb in CONFIGURED else 'evaluate'}").run()
