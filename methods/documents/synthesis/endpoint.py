"""A generator behind an OpenAI-compatible endpoint: POST URL/chat/completions, from a few threads.
`post` takes other paths too (documents/tuning/references.py: URL/embeddings).

What passes (a timeout, a rate limit, a server's error) is tried again, each time after a longer
wait, or after the wait that the server asks for. What does not (a refused key, an unknown model)
ends the run with a message; answers are stored as they come, and the same command resumes.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from methods.documents.synthesis.generators import Answer, Prompt
from methods.documents.synthesis.pairs import list_words, make_seed

log = logging.getLogger(__name__)
Answered = TypeVar("Answered")
LONGEST_WAIT = 60.0  # seconds between two attempts
IN_A_ROW = 5  # prompts without an answer, after which nothing more is asked
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
ASKING = frozenset("what how why which who whom whose when where".split())


class Refused(ValueError):
    """The endpoint will not answer any prompt."""


class Failed(RuntimeError):
    """One prompt has no answer."""


@dataclass
class EndpointGenerator:
    """A model behind an endpoint.

    url: up to and with /v1. model: as the endpoint names it. key_env: the environment variable that
    holds the key; the key is written nowhere. timeout: seconds for one answer. retries: attempts
    after the first. concurrency: prompts under way at once. section: of the config, for messages.
    """

    url: str
    model: str
    key_env: str = "OPENAI_API_KEY"
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0
    timeout: float = 120.0
    retries: int = 4
    concurrency: int = 4
    first_wait: float = 1.0
    section: str = "generator"
    events: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/").removesuffix("/chat/completions")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"{self.url!r} is no URL of an endpoint; it begins with http:// or https://"
            )

    def describe(self) -> dict[str, Any]:
        """Return the endpoint's model, and how tokens are chosen."""
        keys = ("url", "model", "max_new_tokens", "temperature", "seed")
        return {key: getattr(self, key) for key in keys}

    def describe_run(self) -> dict[str, Any]:
        """Return what had to be tried again."""
        return {"concurrency": self.concurrency, "tried_again": dict(self.events)}

    def write(self, prompts: Sequence[Prompt], done: Container[str] = ()) -> Iterator[list[Answer]]:
        """Yield answers one at a time, as they come.

        Raises ValueError for an endpoint that refuses, or that answers nothing usable in a row.
        """
        waiting = iter([prompt for prompt in prompts if prompt.id not in done])
        failed = 0
        self._stop.clear()
        pool = ThreadPoolExecutor(self.concurrency)
        running: set[Future[Answer]] = set()
        try:
            while True:
                while len(running) < self.concurrency and (one := next(waiting, None)):
                    running.add(pool.submit(self._answer, one))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for answer in (future.result() for future in finished):
                    failed = failed + 1 if answer.error else 0
                    yield [answer]
                    if failed >= IN_A_ROW:
                        raise ValueError(
                            f"{self.url} gave no usable answer to {failed} prompts in a row; the "
                            f"last: {answer.error}. Answers until now are stored; when the "
                            f"endpoint is mended, the same command resumes"
                        )
        finally:
            self._stop.set()  # whoever waits for another attempt gives up
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, prompt: Prompt) -> Answer:
        begun = time.perf_counter()
        try:
            text, usage = self.post("/chat/completions", self._make_body(prompt), _read_answer)
        except Failed as error:
            seconds = round(time.perf_counter() - begun, 3)
            return Answer(prompt.id, "", seconds=seconds, error=str(error))
        if prompt.cue:
            text = _add_opening(text, prompt.opening)
        tokens = (usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0)
        return Answer(prompt.id, text, *tokens, round(time.perf_counter() - begun, 3))

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[Any], Answered]) -> Answered:
        """Return what `read` makes of the answer's JSON; it raises Passing for one that is garbage.

        path: below the URL. Raises Refused, or Failed after the last attempt.
        """
        for attempt in range(self.retries + 1):
            try:
                return read(self._post_once(path, body))
            except Passing as error:
                if attempt == self.retries or self._stop.is_set():
                    raise Failed(f"{error} ({attempt + 1} attempts)") from error
                self.events[error.kind] += 1
                pause = min(error.wait or self.first_wait * 2**attempt, LONGEST_WAIT)
                log.debug("%s: %s; again in %.1f s", path, error, pause)
                self._stop.wait(pause)
        raise AssertionError("unreachable")

    def _post_once(self, path: str, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}",
            data=json.dumps(body).encode(),
            headers=self._make_headers(),
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            raise self._explain_status(path, error) from error
        except TimeoutError as error:
            raise Passing(f"no answer within {self.timeout:g} s", "timeout") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise Passing(f"no answer within {self.timeout:g} s", "timeout") from error
            raise Passing(f"{self.url} cannot be reached: {reason}", "unreachable") from error
        try:
            return json.loads(content)
        except ValueError as error:
            shown = content[:80].decode("utf-8", "replace")
            raise Passing(f"the answer is no JSON: {shown!r}", "garbage") from error

    def _make_body(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt.text + prompt.cue}],
            "max_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "seed": make_seed(self.seed, prompt.id) % 2**31,
            "stream": False,
        }

    def _make_headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "dec2vec"}
        if key := os.environ.get(self.key_env):
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _explain_status(self, path: str, error: urllib.error.HTTPError) -> Exception:
        """Return what an HTTP status means: passing, of this prompt, or of all prompts."""
        with error:
            said = error.read()[:300].decode("utf-8", "replace").strip()
        code = error.code
        if code in (401, 403):
            known = "is set" if os.environ.get(self.key_env) else "is not set"
            return Refused(
                f"{self.url} refused the key ({code}: {said}); it is taken from ${self.key_env}, "
                f"which {known}; set it, or name another variable with "
                f"{self._name_key('key_env')}"
            )
        if code == 404:
            return Refused(
                f"{self.url} knows no {self.model!r} or no {path} ({said}); check "
                f"{self._name_key('model')}: {self.url}/models lists what it has"
            )
        if code in PASSING:
            kind = "rate limit" if code == 429 else "server error"
            return Passing(f"{code}: {said}", kind, _read_wait(error.headers.get("Retry-After")))
        return Failed(f"{code}: {said}")

    def _name_key(self, key: str) -> str:
        """Return what to write for a setting, or where it stands."""
        if self.section != "generator":
            return f"{key} in {self.section}"
        return (
            "generator.key_env=NAME" if key == "key_env" else "generator.model and generator.name"
        )


class Passing(Exception):
    """What may be gone at the next attempt. wait: seconds that the server asks for."""

    def __init__(self, message: str, kind: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind, self.wait = kind, wait


def _read_answer(content: Any) -> tuple[str, dict[str, Any]]:
    """Return the text and the usage of an endpoint's JSON."""
    try:
        text = content["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        shown = json.dumps(content)[:80]
        raise Passing(f"the answer has no choices[0].message.content: {shown}", "garbage")
    usage = content.get("usage")
    return text, usage if isinstance(usage, dict) else {}


def _read_wait(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:  # a date
        return None


def _add_opening(text: str, opening: str) -> str:
    """Return an answer with its opening, which the model may have written again, or ignored."""
    words = list_words(text)
    if words and (words[0] in ASKING or words[0] == "question"):
        return text
    return f"{opening} {text.lstrip()}"
