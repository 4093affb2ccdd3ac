"""A language model in a process of its own: llama.cpp's OpenAI-compatible server on a free loopback port.

The pipe only starts it, says where it listens, and ends it; requests go over HTTP, as to any other model server.
"""

from collections.abc import Mapping
from typing import Any

import xllamacpp

from pipelines.workers.child import CallFailed, Cancelled, Reply
from pipelines.workers.framing import Header


class LlamaServer:
    def __init__(self, config: Mapping[str, Any]) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = config["model"]
        params.model_alias = {config["name"]}
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [config["key"]]
        params.n_parallel = config["parallel"]
        params.n_ctx = config["context"] * config["parallel"]
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
        params.cpuparams.poll = params.cpuparams_batch.poll = 0  # an idle model must not spin
        params.n_threads_http = config["parallel"] + 2
        params.cache_prompt = True
        params.cache_ram_mib = 256
        params.ui = False
        params.endpoint_slots = False
        params.verbosity = 0
        self._context = config["context"]
        self._server = xllamacpp.Server(params)

    def about(self) -> Header:
        return {"base_url": f"{self._server.listening_address}/v1", "context": self._context}

    def call(self, op: str, args: Mapping[str, Any], payload: bytes, cancelled: Cancelled) -> Reply:
        raise CallFailed("the model is asked over HTTP", retryable=False)


def load(config: Mapping[str, Any]) -> LlamaServer:
    return LlamaServer(config)
