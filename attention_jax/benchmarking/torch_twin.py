"""The benchmark's encoder-decoder written by hand in PyTorch, to train against ours.

The same equations, sizes and optimiser in the idioms of PyTorch: `nn.LSTM` for the
recurrences, attention over all target steps in one product, Adam with clipping. Torch is
imported when it is measured, and never needed.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from attention_jax.benchmarking.candidates import Unsupported
from attention_jax.config import ModelConfig, TrainingConfig

# What the twin is written for; any other value of these fields has no twin.
WIRED = {
    "attention": "after",
    "score": "bilinear",
    "normalizer": "softmax",
    "cell": "lstm",
    "encoder_layers": 1,
    "decoder_layers": 1,
    "bidirectional": True,
    "readout": "tanh",
    "tied_embeddings": False,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}


def make_twin(model: ModelConfig, params: Any) -> Any:
    """An `nn.Module` with the parameters of ours: module(batch) -> logits [B, T, W].

    Args:
      model: LSTM, bilinear score, wiring `after`, tanh readout, one layer, no dropout.
      params: what `Model.init` returns.

    Raises:
      Unsupported: another model; names the field.
      ModuleNotFoundError: there is no torch.
    """
    for field, value in WIRED.items():
        if getattr(model, field) != value:
            raise Unsupported(
                f"the PyTorch twin is written for model.{field}={value}, "
                f"got {getattr(model, field)!r}"
            )
    torch = importlib.import_module("torch")
    nn = torch.nn

    def tensor(array: Any) -> Any:
        return torch.from_numpy(np.array(array, np.float32))

    def fill(parameter: Any, array: Any) -> None:
        with torch.no_grad():
            parameter.copy_(tensor(array))

    def fill_lstm(lstm: Any, layer: Any, suffix: str = "") -> None:
        # PyTorch's gates are in our order, i f g o; it adds a second bias, here 0.
        fill(getattr(lstm, f"weight_ih_l0{suffix}"), layer["w_input"].T)
        fill(getattr(lstm, f"weight_hh_l0{suffix}"), layer["w_hidden"].T)
        fill(getattr(lstm, f"bias_ih_l0{suffix}"), layer["bias"])
        fill(getattr(lstm, f"bias_hh_l0{suffix}"), 0.0 * layer["bias"])

    def fill_linear(linear: Any, kernel: Any, bias: Any = None) -> Any:
        fill(linear.weight, kernel.T)
        if bias is not None:
            fill(linear.bias, bias)
        return linear

    encoder, decoder = params["encoder"], params["decoder"]
    sizes = model.embedding_size, model.encoder_size, model.decoder_size
    embedding_size, encoder_size, size = sizes
    readout_size = model.readout_size or size

    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            self.source_embedding = nn.Embedding.from_pretrained(
                tensor(encoder["embedding"]), freeze=False
            )
            self.encoder = nn.LSTM(
                embedding_size, encoder_size, batch_first=True, bidirectional=True
            )
            layer = encoder["layers"]["layer_0"]
            fill_lstm(self.encoder, layer["forward"])
            fill_lstm(self.encoder, layer["backward"], "_reverse")
            bridge = params["bridge"]["layers"]["layer_0"]
            width = 2 * encoder_size
            self.bridge_hidden = fill_linear(
                nn.Linear(width, size),
                bridge["hidden"]["kernel"],
                bridge["hidden"]["bias"],
            )
            self.bridge_cell = fill_linear(
                nn.Linear(width, size), bridge["cell"]["kernel"], bridge["cell"]["bias"]
            )
            self.target_embedding = nn.Embedding.from_pretrained(
                tensor(decoder["embedding"]), freeze=False
            )
            self.decoder = nn.LSTM(embedding_size, size, batch_first=True)
            fill_lstm(self.decoder, decoder["layers"]["layer_0"])
            [score_matrix] = decoder["attention"]["params"].values()
            self.score_matrix = nn.Parameter(tensor(score_matrix))
            self.combine = fill_linear(
                nn.Linear(width + size, readout_size, bias=False),
                decoder["readout"]["combine"],
            )
            vocabulary = decoder["projection"].shape[1]
            self.projection = fill_linear(
                nn.Linear(readout_size, vocabulary),
                decoder["projection"],
                decoder["projection_bias"],
            )

        def forward(self, batch: Any) -> Any:
            embedded = self.source_embedding(batch.source)
            states, final = self._encode(embedded, batch.source_lengths)
            hidden, cell = (torch.cat([part[0], part[1]], -1) for part in final)
            start = (
                torch.tanh(self.bridge_hidden(hidden))[None],
                torch.tanh(self.bridge_cell(cell))[None],
            )
            queries, _ = self.decoder(self.target_embedding(batch.target_inputs), start)
            scores = (queries @ self.score_matrix) @ states.transpose(1, 2)
            steps = torch.arange(states.shape[1])
            padding = steps[None] >= batch.source_lengths[:, None]
            scores = scores.masked_fill(padding[:, None], float("-inf"))
            context = torch.softmax(scores, -1) @ states
            features = torch.tanh(self.combine(torch.cat([context, queries], -1)))
            return self.projection(features)

        def _encode(self, embedded: Any, lengths: Any) -> Any:
            if bool((lengths == embedded.shape[1]).all()):
                return self.encoder(embedded)
            packed = nn.utils.rnn.pack_padded_sequence(
                embedded, lengths, batch_first=True, enforce_sorted=False
            )
            states, final = self.encoder(packed)
            width = embedded.shape[1]
            states, _ = nn.utils.rnn.pad_packed_sequence(
                states, batch_first=True, total_length=width
            )
            return states, final

    return Twin()


def as_torch(batch: Any) -> Any:
    """A `Batch` of torch's integers."""
    torch = importlib.import_module("torch")
    return type(batch)(*(torch.from_numpy(np.array(x, np.int64)) for x in batch))


def twin_loss(twin: Any, batch: Any) -> Any:
    """Cross entropy per target token, for a batch from `as_torch`."""
    torch = importlib.import_module("torch")
    logits = twin(batch)
    steps = torch.arange(logits.shape[1])
    outside = steps[None] >= batch.target_lengths[:, None]
    targets = batch.target_outputs.masked_fill(outside, -100)
    return torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    )


def make_twin_step(twin: Any, training: TrainingConfig) -> Callable[[Any], Any]:
    """`step(batch) -> loss`: one update by Adam after clipping, as our train step's."""
    torch = importlib.import_module("torch")
    optimizer = torch.optim.Adam(twin.parameters(), lr=training.learning_rate)

    def step(batch: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = twin_loss(twin, batch)
        loss.backward()
        if training.clip_norm:
            torch.nn.utils.clip_grad_norm_(twin.parameters(), training.clip_norm)
        optimizer.step()
        return loss.detach()

    return step
