"""An endpoint that times out, refuses the key, limits the rate or answers garbage."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from methods.documents.synthesis.endpoint import EndpointGenerator
from methods.documents.synthesis.generators import Prompt
from methods.documents.synthesis.journal import Journal

PROMPTS = [Prompt(f"q/{n}", f"prompt {n}") for n in range(12)]


@contextmanager
def serve(respond):
    """An endpoint; respond(number of the request, its body, its headers) -> status, content,
    headers. Yields its URL and the bodies it was sent."""
    bodies, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                bodies.append(body)
                number = len(bodies)
            status, content, headers = respond(number, body, self.headers)
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client has given up
                pass

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(text, status=200, **headers):
    content = {"choices": [{"message": {"content": text}}]}
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    return status, {**content, "usage": usage}, headers


def generate(url, prompts=PROMPTS, **settings):
    settings = {"first_wait": 0.01, "timeout": 5.0, "retries": 2, **settings}
    generator = EndpointGenerator(url, "some-model", **settings)
    found = [one for answers in generator.write(prompts) for one in answers]
    return {one.id: one for one in found}, generator


def test_prompts_are_answered_at_once_but_never_more_than_asked_for(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    under_way, most, lock = 0, 0, threading.Lock()

    def respond(number, body, headers):
        nonlocal under_way, most
        assert headers["Authorization"] == "Bearer secret"
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        return answer(f"re: {body['messages'][0]['content']}")

    with serve(respond) as (url, bodies):
        found, generator = generate(url, concurrency=3, key_env="MY_KEY")
    assert {id: one.text for id, one in found.items()} == {
        one.id: f"re: {one.text}" for one in PROMPTS
    }
    assert 1 < most <= 3 and len(bodies) == 12
    assert found["q/1"].prompt_tokens == 5 and found["q/1"].tokens == 2
    assert len({body["seed"] for body in bodies}) == 12
    assert "secret" not in json.dumps([generator.describe(), generator.describe_run()])


def test_an_opening_ends_the_prompt_and_begins_the_answer():
    texts = iter([" is it?", "What is it?", "Why is it so?"])
    prompts = [Prompt(f"q/{n}", "Text.", "What", "\nQuestion: What") for n in range(3)]
    with serve(lambda *_: answer(next(texts))) as (url, bodies):
        found, _ = generate(url, prompts, concurrency=1)
    assert [one.text for one in found.values()] == ["What is it?", "What is it?", "Why is it so?"]
    assert bodies[0]["messages"][0]["content"] == "Text.\nQuestion: What"


def test_rate_limits_and_passing_errors_are_waited_for():
    passing = {1: (429, {}, {"Retry-After": "0.2"}), 2: (503, b"busy", {}), 4: (200, b"<html>", {})}
    with serve(lambda number, *_: passing.get(number) or answer("yes")) as (url, bodies):
        begun = time.monotonic()
        found, generator = generate(url, PROMPTS[:3], concurrency=1)
        assert time.monotonic() - begun > 0.2
    assert [one.text for one in found.values()] == ["yes"] * 3 and len(bodies) == 6
    assert generator.describe_run()["tried_again"] == {
        "rate limit": 1,
        "server error": 1,
        "garbage": 1,
    }


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (
            (401, b"no such key", {}),
            r"refused the key \(401: no such key\); .*\$OPENAI_API_KEY, wh",
        ),
        ((404, b"no model", {}), "knows no 'some-model' .*check generator.model and generator.na"),
        ((200, b"<html>", {}), r"to 5 prompts in a row; the last: the answer is no JSON: '<html>'"),
        ((200, {"choices": []}, {}), "has no choices.*same command resumes"),
        ((500, b"broken", {}), r"500: broken \(3 attempts\)"),
    ],
)
def test_what_does_not_pass_ends_the_run_with_what_to_do(response, message):
    with serve(lambda *_: response) as (url, bodies):
        with pytest.raises(ValueError, match=message):
            generate(url, concurrency=1)
    assert len(bodies) <= 15  # 5 prompts, 3 attempts each


def test_an_endpoint_that_does_not_answer_in_time_or_is_not_there():
    with serve(lambda *_: time.sleep(0.5) or answer("late")) as (url, _):
        with pytest.raises(ValueError, match="no answer within 0.1 s"):
            generate(url, timeout=0.1, retries=0)
    with pytest.raises(ValueError, match="cannot be reached: .*refused"):
        generate(url, retries=0)
    with pytest.raises(ValueError, match="'ftp://x' is no URL of an endpoint"):
        EndpointGenerator("ftp://x", "m")


def test_a_prompt_that_is_refused_alone_does_not_end_the_run_and_is_asked_again(tmp_path):
    def respond(number, body, headers):
        bad = body["messages"][0]["content"] == "prompt 1" and number < 20
        return (400, b"too long", {}) if bad else answer("yes")

    with serve(respond) as (url, bodies):
        generator = EndpointGenerator(url, "m", first_wait=0.01, concurrency=2)
        journal = Journal(tmp_path)
        first = journal.complete(PROMPTS, generator, title="test")
        assert first["q/1"].error == "400: too long" and len(bodies) == 12
        bodies += [None] * 10
        again = journal.complete(PROMPTS, generator, title="test")
    assert again["q/1"].text == "yes" and len(bodies) == 23
    assert journal.read() == again
