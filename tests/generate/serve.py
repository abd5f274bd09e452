"""A small server of OpenAI's protocol for one checkpoint: `serve.py FOLDER` prints its address and serves on."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from pytest_distill.pipelines.models.backend import Sampling
from pytest_distill.pipelines.models.judging import open_judge
from pytest_distill.pipelines.models.loader import CleanModelLoader
from pytest_distill.pipelines.models.registry import ModelChoice

BACKEND = CleanModelLoader(sys.argv[1]).load()
TOKENIZER = BACKEND.guard.tokenizer
JUDGE = open_judge(ModelChoice(model=sys.argv[1]))
LOCK = threading.Lock()
# A question that holds one of these is answered as a server in that state would.
STATES = {
    "be another model": {"model": "another"},
    "refuse": {"choices": [{"message": {"content": None, "refusal": "I will not."}, "finish_reason": "stop"}]},
    "forget usage": {"usage": None},
}


def chat(body: dict) -> dict:
    (message,) = body["messages"]
    schema = body["response_format"]["json_schema"]["schema"]
    asked = {"max_new_tokens": body["max_tokens"], "seeds": [body["seed"]], "temperature": body["temperature"]}
    reply = JUDGE.ask([message["content"]], schema=schema, **asked)[0]
    answer = {
        "model": body["model"],
        "choices": [{"message": {"content": reply.text}, "finish_reason": reply.finish_reason}],
        "usage": {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens},
    }
    return answer | next((state for words, state in STATES.items() if words in message["content"]), {})


def choice(body: dict) -> dict:
    prompt = TOKENIZER.decode(body["prompt"])
    if body.get("logprobs"):
        with torch.inference_mode():
            values = torch.log_softmax(BACKEND._model(torch.tensor([body["prompt"]])).logits[0, -1].double(), -1)
        top = values.topk(body["logprobs"])
        named = {TOKENIZER.decode([i]): v for i, v in zip(top.indices.tolist(), top.values.tolist(), strict=True)}
        return {"text": "", "finish_reason": "length", "logprobs": {"top_logprobs": [named]}}
    sampling = Sampling(body["max_tokens"], body["temperature"], body["top_p"], body.get("repetition_penalty", 1.0))
    done = BACKEND.generate([prompt], sampling, [body["seed"]])[0]
    return {"text": done.text, "finish_reason": done.finish_reason, "logprobs": None}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path not in ("/v1/completions", "/v1/chat/completions") or body["model"] != "tiny":
            self.answer(404, {"error": f"no model {body['model']}"})
            return
        with LOCK:
            self.answer(200, chat(body) if "messages" in body else {"choices": [choice(body)]})

    def answer(self, status: int, value: dict) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()
