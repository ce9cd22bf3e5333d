"""A small untrained model that writes at once, and requests to its server."""

import http.client
import json
import threading
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch

from shards.vocabulary import Vocabulary
from tests.pipeline.browse.browser import COOKIE, TOKEN
from trainer.config import Config, ModelConfig, TrainConfig
from trainer.generation.trained import TrainedModel
from trainer.model.transformer import TransformerXL
from trainer.play.server import serve
from trainer.run.folder import Run

SIGNED_IN = {"Cookie": f"{COOKIE}={TOKEN}"}
OWN = {"Content-Type": "application/json"} | SIGNED_IN


def small_model() -> TrainedModel:
    """Two layers; its songs are chance, bars of any meter at any tempo."""
    vocabulary = Vocabulary()
    model = ModelConfig(
        layers=2, d_model=16, heads=2, memory=12, dropout=0.0, qk_norm=False,
    ).for_vocabulary(vocabulary)  # fmt: skip
    network = TransformerXL(model)
    network.initialize(torch.Generator().manual_seed(0))
    config = Config(model=model, train=TrainConfig(block_size=8))
    run = Run(Path("runs/small"), config, vocabulary, "", Path(), "", None)
    return TrainedModel(run, network.eval())


def known_token():
    """Servers that are made meanwhile have the token of the tests."""
    return mock.patch("shards.web.server.secrets.token_urlsafe", return_value=TOKEN)


@contextmanager
def running(**options):
    """The port of a server of a small model."""
    with known_token(), serve(small_model(), **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def post(port, address, body=b"", headers=OWN):
    """Status and content of a request that writes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    try:
        connection.request("POST", address, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def get(port, address):
    """Status and content of a request that reads."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    try:
        connection.request("GET", address, headers=SIGNED_IN)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def lines(port, **order):
    """The lines that an order brings."""
    status, content = post(port, "/api/write", json.dumps(order).encode())
    assert status == 200, content
    return [json.loads(line) for line in content.splitlines()]
