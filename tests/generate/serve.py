"""A small server of the completions protocol for one checkpoint: `serve.py FOLDER` prints its address and serves on."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from pytest_distill.pipelines.models.backend import Sampling
from pytest_distill.pipelines.models.loader import CleanModelLoader

BACKEND = CleanModelLoader(sys.argv[1]).load()
TOKENIZER = BACKEND.guard.tokenizer
LOCK = threading.Lock()


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
        if self.path != "/v1/completions" or body["model"] != "tiny":
            self.answer(404, {"error": f"no model {body['model']}"})
            return
        with LOCK:
            self.answer(200, {"choices": [choice(body)]})

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
